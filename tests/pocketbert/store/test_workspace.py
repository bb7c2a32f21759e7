"""Work that survives an interruption, and the division of work between processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocketbert.store.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "output").mkdir()
    return Workspace(output=tmp_path / "output", checkpoints=tmp_path / "checkpoints")


def test_a_single_process_saves_decides_and_keeps(workspace, tmp_path):
    workspace.save(lambda output: (output / "model").write_text("weights"))
    assert (tmp_path / "output" / "model").read_text() == "weights"
    assert workspace.decide(lambda: [1, 2]) == [1, 2]
    assert workspace.kept_path("tokens") == tmp_path / "tokens"


def test_an_array_is_computed_once_and_read_back_when_the_run_resumes(workspace, tmp_path):
    calls = []

    def compute() -> np.ndarray:
        calls.append("compute")
        return np.array([[1.0, np.nan]], dtype=np.float32)

    for _ in range(2):
        array = workspace.computed_once("teacher_logits", compute)
        np.testing.assert_array_equal(array, [[1.0, np.nan]])
        assert array.dtype == np.float32
    assert calls == ["compute"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["teacher_logits.npy"]


def test_a_partly_written_array_is_computed_again(workspace, tmp_path):
    (tmp_path / "teacher_logits.partial.npy").write_bytes(b"half")

    def killed() -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.computed_once("teacher_logits", killed)
    assert not workspace.kept_path("teacher_logits.npy").exists()
    assert workspace.computed_once("teacher_logits", lambda: np.ones(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "empty", "pickled"])
def test_a_damaged_array_is_named_and_computed_again(workspace, tmp_path, capsys, damage):
    array = np.arange(300.0)
    path = tmp_path / "teacher_logits.npy"
    workspace.computed_once("teacher_logits", lambda: array)
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-100])
        case "zeroed":
            path.write_bytes(content[:200] + bytes(len(content) - 200))
        case "empty":
            path.write_bytes(b"")
        case "pickled":
            np.save(path, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    assert np.array_equal(workspace.computed_once("teacher_logits", lambda: array), array)
    assert f"{path} is damaged (" in capsys.readouterr().err


TOGETHER = """
import json, sys
from pathlib import Path
import numpy as np
from compress.common import distributed
from pocketbert.store.workspace import Workspace

folder, rank = Path(sys.argv[1]), distributed.rank()
workspace = Workspace(output=folder / "output", checkpoints=folder / "checkpoints")
computed = []

def compute():
    computed.append(distributed.all_gather(rank))  # all processes take part: one of them would never return
    return np.full(2, rank)

outcome = {
    "decided": workspace.decide(lambda: f"by {rank}"),
    "array": workspace.computed_once("array", compute).tolist(),
    "again": workspace.computed_once("array", compute).tolist(),
    "computed": computed,
}
workspace.save(lambda output: (output / f"saved by {rank}").write_text("x"))
outcome["saved"] = sorted(path.name for path in workspace.output.iterdir())
(folder / f"{rank}.json").write_text(json.dumps(outcome))
distributed.leave()
distributed.end(0)
"""


def test_two_processes_compute_together_and_the_main_one_decides_and_writes(tmp_path):
    (tmp_path / "output").mkdir()
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [*launcher, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    expected = {"decided": "by 0", "array": [0, 0], "again": [0, 0], "computed": [[0, 1]], "saved": ["saved by 0"]}
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected
