"""Commands for a machine that only runs bundles: torch and what belongs to it are not installed there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results.document import write_results
from compress.common.extras import install_command
from example_results import RESULTS
from tiny_bundles import build_fp32_bundle

WITHOUT = """
import sys

ABSENT = ("torch", "transformers", "datasets", "accelerate", "safetensors", "gensim", "regex")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Absent())
from pocketbert.cli import app
sys.exit(app.main(sys.argv[1:]))
"""


BRIEF = ("--effort", "quick", "--restart-every", "2", "--threads", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, teacher_folder, reviews) -> Path:
    """A bundle in fp32/, and the results of a run in run/."""
    root = tmp_path_factory.mktemp("without")
    build_fp32_bundle(root, teacher_folder, reviews, ["text"])
    (root / "run").mkdir()
    write_results(RESULTS, root / "run")
    return root


def without_torch(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=folder, env={**os.environ, "POCKETBERT_CACHE": str(folder / "cache")}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["predict", "fp32", "a fine film"], '{"label": "'),
        (["explain", "fp32"], "McNemar p"),
        (["explain", "run"], "logits: "),
        (["verify", "fp32"], "no prediction changed"),
        (["report", "run"], "report.html"),
        (["compare", "run", "run"], "times as fast"),
        (["bench", "models", "fp32", *BRIEF, "--rounds", "2", "--grid", "1x8"], "fp32"),
        (["doctor"], "torch:        not installed; only training and export need it"),
        (["recipes"], "quickstart"),
        (["schema", "results"], "$schema"),
    ],
)
def test_a_command_works(folder, arguments, printed):
    finished = without_torch(folder, *arguments)
    assert finished.returncode == 0 and printed in finished.stdout, finished.stderr


def test_a_command_that_trains_names_the_extra(folder, base_folder, reviews):
    (folder / "r.yaml").write_text(
        f"name: r\ntask: {{data: {reviews}, max_length: 32}}\nteacher: {{base: {base_folder}}}\n"
        "student: {layers: 2, width: 16, ffn_width: 32, heads: 4}\n"
    )
    finished = without_torch(folder, "run", "r.yaml")
    assert finished.returncode == 2 and f"{install_command('cpu')};" in finished.stderr, finished.stderr
    assert finished.stderr.count("error: ") == 1
