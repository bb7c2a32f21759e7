"""Time and memory from the start of a process to the first prediction: bundles, and the teacher in torch, as JSON.

    python results/export/cold_start.py --teacher models/minilm-l6-sst2 --bundles runs/sst2/bundles/* \
        --python slim/bin/python > results/export/cold_start.json

Every process predicts one short text. The processes of a round are new, one per model, in turn. `--python` runs the
predict.py of the bundles; its environment has numpy, onnxruntime and tokenizers.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.measurement import machine

TEXT = "a warm and funny film"
IN_TORCH = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
with torch.inference_mode():
    print(model(**tokenizer(sys.argv[2], return_tensors="pt")).logits.softmax(-1).tolist())
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds, and the largest resident memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[-2:])}: failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Measure each model, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--bundles", type=Path, nargs="+", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    commands = {"teacher, torch and transformers": [sys.executable, "-c", IN_TORCH, arguments.teacher, TEXT]}
    for bundle in arguments.bundles:
        manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        megabytes = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6
        name = f"{manifest['variant']}, {megabytes:.0f} MB"
        commands[name] = [arguments.python, str(bundle / "predict.py"), TEXT]
    rounds = [[measured(command) for command in commands.values()] for _ in range(2 + arguments.rounds)]
    figures = np.array(rounds[2:])  # the first two fill the disk cache; (rounds, models, 2)
    rows = [
        {
            "name": name,
            "ms": float(np.median(figures[:, column, 0]) * 1e3),
            "lowest_ms": float(figures[:, column, 0].min() * 1e3),
            "highest_ms": float(figures[:, column, 0].max() * 1e3),
            "memory_mib": float(np.median(figures[:, column, 1])),
        }
        for column, name in enumerate(commands)
    ]
    content = {"machine": asdict(machine.describe()), "rounds": arguments.rounds, "rows": rows}
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
