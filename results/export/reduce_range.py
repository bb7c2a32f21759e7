"""The accuracy of 7-bit weights compared with 8-bit ones, with paired intervals, as JSON.

    python results/export/reduce_range.py models/minilm-l6-sst2 data/sst2 --text sentence --folder runs/reduce-range \
        > results/export/reduce_range.json

The folder of the data has train, dev and test. Static variants are calibrated on train. Variants are built once per
range in --folder, and stay there.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
import task_tables

from bench.measurement import machine
from compress.data.columns import Split
from compress.data.task_types import task_type
from compress.models import loading
from export.graph.fusion import EncoderShape
from export.graph.to_onnx import export_onnx
from export.parity.significance import paired_difference
from export.quantisation.calibration import Inputs, calibration_rows, unpadded_inputs
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS

NAMES = ("int8-static", "int4-static", "int8-dynamic")
RANGES = {"full": False, "reduced": True}


def logits(model: Path, inputs: Sequence[Mapping[str, np.ndarray]], num_threads: int) -> np.ndarray:
    """The logits of texts, one at a time. On a processor with VNNI, nothing saturates."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return np.concatenate([session.run(["logits"], {name: text[name] for name in names})[0] for text in inputs])


def main() -> None:
    """Build the variants, score them, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    task_tables.add_arguments(parser, max_length=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    model, tokenizer = loading.load_classifier(arguments.model), loading.load_tokenizer(arguments.model)

    def inputs_of(rows: Split) -> list[Inputs]:
        return unpadded_inputs(rows, tokenizer, arguments.max_length)

    calibration = inputs_of(calibration_rows(task_tables.read(arguments, "train"), task_type="classification", seed=0))
    splits = {name: task_tables.read(arguments, name) for name in ("dev", "test")}
    inputs = {name: inputs_of(rows) for name, rows in splits.items()}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    raw = arguments.folder / "raw.onnx"
    export_onnx(model, raw, takes_token_types="token_type_ids" in tokenizer.model_input_names)
    encoder = EncoderShape.of(model.config)

    def predictions(variant: str, *, reduced: bool) -> dict[str, np.ndarray]:
        path = arguments.folder / f"{variant}{'-reduced' if reduced else ''}.onnx"
        if not path.exists():
            build_variant(VARIANTS[variant], raw, path, encoder, calibration, StaticOptions(reduced=reduced))
        sys.stderr.write(f"{path.name}\n")
        return {name: logits(path, texts, arguments.threads).argmax(axis=1) for name, texts in inputs.items()}

    kind = task_type("classification")
    num_labels = len(arguments.labels.split(","))
    fp32 = predictions("fp32", reduced=True)
    comparisons = []
    for variant in NAMES:
        of_range = {name: predictions(variant, reduced=reduced) for name, reduced in RANGES.items()}
        for split, rows in splits.items():
            full, reduced = of_range["full"][split], of_range["reduced"][split]
            difference = paired_difference(
                "accuracy", rows.labels, reduced, full, task_type=kind, num_labels=num_labels, resamples=10_000
            )
            comparisons.append(
                {
                    "variant": variant,
                    "split": split,
                    "num_rows": len(rows),
                    "fp32": float((fp32[split] == rows.labels).mean()),
                    "full": float((full == rows.labels).mean()),
                    "reduced": float((reduced == rows.labels).mean()),
                    "difference": asdict(difference),
                    "num_label_changes": int((full != reduced).sum()),
                }
            )
    content = {
        "model": Path(arguments.model).name,
        "data": arguments.data.name,
        "machine": asdict(machine.describe()),
        "comparisons": comparisons,
    }
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
