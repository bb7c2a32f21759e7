"""Two forms of the same models compared: equality of logits, bytes, latency, load time and resident memory, as JSON.

    python results/export/portable.py --before before/int8-static before/int4-static \
        --after after/int8-static after/int4-static > results/export/portable.json

Each argument is a bundle or an ONNX file. The first of --before is compared with the first of --after, and so on. Both
models of a pair are called in turn in one process, so that slow phases of the machine affect both. A round's ratio is
the time of the later form over that of the earlier one.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime

from bench.measurement import machine

SHAPES = {"1x16": (1, 16), "1x128": (1, 128), "32x128": (32, 128)}
LOADING = """
import sys, time, onnxruntime
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
before, start = resident(), time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
seconds = time.perf_counter() - start
print(seconds * 1e3, (resident() - before) / 1024)
"""
NUM_LOADS = 5


def model_file(path: Path) -> Path:
    """The ONNX file of a bundle, or the file itself."""
    return path / "onnx" / "model.onnx" if path.is_dir() else path


def load_figures(path: Path) -> dict[str, float]:
    """Load time and growth of the resident memory, each the median over new processes."""
    outputs = [
        subprocess.run([sys.executable, "-c", LOADING, path], check=True, capture_output=True, text=True).stdout
        for _ in range(NUM_LOADS)
    ]
    milliseconds, mebibytes = np.median([[float(value) for value in output.split()] for output in outputs], axis=0)
    return {"load_ms": float(milliseconds), "resident_mib": float(mebibytes)}


def session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def latency(
    before: onnxruntime.InferenceSession,
    after: onnxruntime.InferenceSession,
    shape: tuple[int, int],
    num_rounds: int,
    vocabulary: int,
) -> dict[str, object]:
    """The median ratio over rounds with its 95% interval, and whether all logits are equal."""
    generator = np.random.default_rng(0)
    ids = generator.integers(1000, vocabulary, size=shape)
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs = {entry.name: values[entry.name] for entry in before.get_inputs()}
    is_equal = bool(np.array_equal(before.run(None, inputs)[0], after.run(None, inputs)[0]))
    start = time.perf_counter()
    before.run(None, inputs)
    calls = max(3, int(0.2 / (time.perf_counter() - start)))  # per model and round
    ratios, milliseconds = [], []
    for _ in range(num_rounds):
        seconds = np.empty((calls, 2))
        for call in range(calls):
            for column in (0, 1) if call % 2 else (1, 0):
                start = time.perf_counter()
                (before, after)[column].run(None, inputs)
                seconds[call, column] = time.perf_counter() - start
        lowest = np.quantile(seconds, 0.2, axis=0)
        ratios.append(lowest[1] / lowest[0])
        milliseconds.append(lowest * 1e3)
    medians = np.median(generator.choice(ratios, size=(2000, num_rounds)), axis=1)
    earlier, later = np.median(milliseconds, axis=0)
    return {
        "ratio": float(np.median(ratios)),
        "low": float(np.quantile(medians, 0.025)),
        "high": float(np.quantile(medians, 0.975)),
        "before_ms": float(earlier),
        "after_ms": float(later),
        "equal_logits": is_equal,
    }


def main() -> None:
    """Compare each pair and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", nargs="+", type=Path, required=True)
    parser.add_argument("--after", nargs="+", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, default=8000, help="token ids below this number are used")
    arguments = parser.parse_args()
    pairs = []
    for paths in zip(arguments.before, arguments.after, strict=True):
        before, after = map(model_file, paths)
        sessions = [session(path, arguments.threads) for path in (before, after)]
        pairs.append(
            {
                "name": paths[1].stem,
                "bytes": {"before": before.stat().st_size, "after": after.stat().st_size},
                "before": load_figures(before),
                "after": load_figures(after),
                "latency": {
                    name: latency(sessions[0], sessions[1], shape, arguments.rounds, arguments.vocabulary)
                    for name, shape in SHAPES.items()
                },
            }
        )
        sys.stderr.write(f"{paths[1]}\n")
    content = {"machine": asdict(machine.describe()), "threads": arguments.threads, "pairs": pairs}
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
