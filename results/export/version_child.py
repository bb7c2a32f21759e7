"""Runs models in the onnxruntime of this environment, on stored inputs. Needs only numpy and onnxruntime.

    python version_child.py INPUTS.npz OUTPUT.npz MODEL.onnx...

The inputs are int64 arrays "BATCH/NAME". The output has the logits of each model, or the error of the runtime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

inputs_file, output_file, *models = sys.argv[1:]
batches: dict[str, dict[str, np.ndarray]] = {}
for key, values in np.load(inputs_file).items():
    batch, name = key.split("/")
    batches.setdefault(batch, {})[name] = values
logits: dict[str, np.ndarray] = {}
errors: dict[str, str] = {}
for model in models:
    name = Path(model).stem
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        used = [entry.name for entry in session.get_inputs()]
        outputs = [session.run(["logits"], {each: batch[each] for each in used})[0] for batch in batches.values()]
        logits[name] = np.concatenate(outputs)
    except Exception as error:  # onnxruntime's errors have no base class
        errors[name] = " ".join(str(error).replace(model, name).split())[:200]
np.savez(output_file, **logits)
sys.stdout.write(json.dumps(errors))
