"""The first onnxruntime that computes each variant correctly, by trying: one environment per version.

    python results/export/runtime_versions.py models/minilm-l6-sst2 data/sst2 --text sentence \
        --folder runs/runtime-versions > results/export/runtime_versions.json

Each version runs the same texts, unbatched and in padded batches. The newest version is the reference. A version is
correct if at most one label changes. The environments are in FOLDER/environments, and take about 100 MB each.
"""

import argparse
import json
import subprocess
import sys
import venv
from dataclasses import asdict
from pathlib import Path

import numpy as np
import task_tables

from bench.measurement import machine
from compress.models import loading
from export.bundle.runtime import probabilities
from export.graph.fusion import EncoderShape
from export.graph.to_onnx import export_onnx
from export.quantisation.calibration import Inputs, calibration_rows, unpadded_inputs
from export.quantisation.quantize import build_variant
from export.quantisation.variants import VARIANTS

NAMES = ("fp32", "fp16", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")
VERSIONS = (
    "1.16.3", "1.17.3", "1.18.1", "1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4", "1.26.0", "1.28.0",
    "1.30.0", "1.32.0",
)  # fmt: skip
WITH_NUMPY_1 = ("1.16", "1.17", "1.18")
BATCH_SIZE = 16


def interpreter(folder: Path, version: str) -> Path:
    """The interpreter of an environment with this onnxruntime. Builds it unless it exists."""
    python = folder / version / "bin" / "python"
    if not python.exists():
        venv.create(folder / version, with_pip=False)
        numpy = "numpy<2" if version.startswith(WITH_NUMPY_1) else "numpy>=2"
        requirements = ["--no-deps", f"onnxruntime=={version}", numpy]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", *requirements], check=True, stdout=sys.stderr)
    return python


def padded(texts: list[Inputs]) -> Inputs:
    """Several texts as one batch, padded with zeros."""
    longest = max(text["input_ids"].shape[1] for text in texts)
    return {
        name: np.concatenate([np.pad(text[name], ((0, 0), (0, longest - text[name].shape[1]))) for text in texts])
        for name in texts[0]
    }


def main() -> None:
    """Build the variants, run them in every version, and print the comparison with the newest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a classifier whose padding has the id 0")
    task_tables.add_arguments(parser, max_length=64)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    model, tokenizer = loading.load_classifier(arguments.model), loading.load_tokenizer(arguments.model)
    dev, train = (task_tables.read(arguments, name) for name in ("dev", "train"))
    num_rows = min(arguments.rows, len(dev))
    texts = unpadded_inputs(dev.take(np.arange(num_rows)), tokenizer, arguments.max_length)
    batches = [*texts, *(padded(texts[start : start + BATCH_SIZE]) for start in range(0, num_rows, BATCH_SIZE))]
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "inputs.npz",
        **{f"{index}/{name}": values for index, batch in enumerate(batches) for name, values in batch.items()},
    )
    raw = folder / "raw.onnx"
    export_onnx(model, raw, takes_token_types="token_type_ids" in tokenizer.model_input_names)
    calibration_texts = calibration_rows(train, task_type="classification", seed=0)
    calibration = unpadded_inputs(calibration_texts, tokenizer, arguments.max_length)
    models = [folder / f"{name}.onnx" for name in NAMES]
    for name, path in zip(NAMES, models, strict=True):
        build_variant(VARIANTS[name], raw, path, EncoderShape.of(model.config), calibration)

    def run(version: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        output = folder / f"{version}.npz"
        python = interpreter(folder / "environments", version)
        child = Path(__file__).with_name("version_child.py")
        command = [str(python), "-I", str(child), str(folder / "inputs.npz"), str(output), *map(str, models)]
        errors = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return {name: probabilities(logits) for name, logits in np.load(output).items()}, errors

    reference, _ = run(VERSIONS[-1])
    outcomes: dict[str, dict[str, object]] = {name: {} for name in NAMES}
    for version in VERSIONS:
        outputs, errors = run(version)
        sys.stderr.write(f"{version}\n")
        for name in NAMES:
            if name in errors:
                outcomes[name][version] = {"error": errors[name]}
                continue
            expected, actual = reference[name], outputs[name]
            unbatched, batched = slice(num_rows), slice(num_rows, None)
            changed = actual.argmax(axis=1) != expected.argmax(axis=1)
            outcomes[name][version] = {
                "changed_labels": int(changed[unbatched].sum()),
                "changed_labels_in_batches": int(changed[batched].sum()),
                "largest_difference": float(np.abs(actual - expected)[unbatched].max()),
                "largest_difference_in_batches": float(np.abs(actual - expected)[batched].max()),
            }
    content = {
        "model": Path(arguments.model).name,
        "num_rows": num_rows,
        "batch_size": BATCH_SIZE,
        "reference": VERSIONS[-1],
        "machine": asdict(machine.describe()),
        "outcomes": outcomes,
    }
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
