"""Tests that two processes train like one: the same batches, the same means, the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tiny_runs import kill_at, recipe, weights

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
MOMENTS = (
    ("general", "first epoch"),
    ("intermediate", "later epoch"),
    ("prediction", "later epoch"),
)
STEPS = Path(__file__).parents[2] / "helpers" / "steps_in_processes.py"


def launched(num_processes: int, *command: object, **options: object) -> subprocess.Popen:
    """Start a Python command under torchrun."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={num_processes}",
            *map(str, command),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def steps(tmp_path_factory) -> Path:
    """The weights after five steps with each objective, in a folder per number of processes."""
    root = tmp_path_factory.mktemp("steps")
    for num_processes in (1, 2):
        folder = root / str(num_processes)
        folder.mkdir()
        finished(launched(num_processes, STEPS, folder))
    return root


@pytest.mark.parametrize("objective", ["layers", "relations", "prediction"])
def test_b07_five_steps_in_two_processes_give_the_weights_of_one_process(steps, objective):
    """33 rows in batches of 8: the last batch has a single row, so one process has none."""
    one, two = (load_file(steps / folder / f"{objective}.safetensors") for folder in ("1", "2"))
    assert one.keys() == two.keys()
    start = load_file(steps / "1" / f"{objective}.start.safetensors")
    assert max((one[name] - start[name]).abs().max().item() for name in one) > 1e-3
    for name in one:
        if name.endswith("key.bias"):
            continue  # no softmax depends on it, so its gradient is rounding noise, which Adam scales up
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_run_killed_under_two_processes_ends_with_the_weights_of_an_uninterrupted_run(tmp_path, base_folder, reviews):
    final_weights, num_kills = [], 0
    for name, kills, options in (("whole", (), ("--until", "prediction")), ("killed", MOMENTS, ())):
        folder = tmp_path / name
        folder.mkdir()
        path = recipe(folder, base_folder, reviews)
        environment = {**os.environ, "POCKETBERT_CACHE": str(folder / "cache")}
        command = ("-m", "pocketbert", "run", path)
        for stage, moment in kills:
            process = launched(2, *command, cwd=folder, env=environment)
            try:
                kill_at(moment, stage, process, folder)  # torchrun ends the other processes
            finally:
                process.kill()
                process.communicate()
            num_kills += 1
        output = finished(launched(2, *command, *options, cwd=folder, env=environment))
        final_weights.append(weights(folder / "runs" / "tiny"))
    assert output.count("bundle ") == 3 and output.count("report ") == 1, "only one process prints the summary"
    assert (folder / "runs" / "tiny" / "log.txt").read_text().count("bench\n") == 1
    assert final_weights[0] == final_weights[1] and num_kills == len(MOMENTS)
