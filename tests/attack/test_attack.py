"""The short part of the attack suite finds no bug, and the judge recognises each bug."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack import cases, runner, sample
from tests.attack.attack import Case, Command, Finished, Scratch
from tests.attack.judge import bugs_of, snapshot
from tests.attack.material import Material, flip_bit
from tests.attack.processes import run_command

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="attacks use fork, limits and pidfd")


@pytest.mark.slow
def test_the_short_part_finds_no_bug():
    """In a process of its own: this one has threads, which a fork would lose."""
    command = [sys.executable, "-m", "tests.attack", "--short", "--jobs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 bugs in " in done.stdout
    assert all(name in done.stdout for name in cases.TYPES)


@pytest.fixture
def scratch(tmp_path) -> Scratch:
    for name in ("root", "logs"):
        (tmp_path / name).mkdir()
    return Scratch(root=tmp_path / "root", logs=tmp_path / "logs", material=Material(root=tmp_path), random=None)


def finished(**values: object) -> Finished:
    sound = {
        "code": 0, "stdout": b"", "stderr": b"", "seconds": 1.0, "peak_bytes": 10**8, "is_over_time": False,
    }  # fmt: skip
    return Finished(**{**sound, **values})


@pytest.mark.parametrize(
    ("values", "bug"),
    [
        ({}, None),
        ({"code": 2, "stderr": b"error: no such file"}, None),
        ({"code": 2}, "refused without a message"),
        ({"code": 1, "stderr": b"error: x"}, "exit code 1: error: x"),
        ({"code": -11}, "exit code -11"),
        ({"is_over_time": True}, "no end after 60 s"),
        ({"peak_bytes": 3 * 10**9}, "3.0 GB of memory"),
        ({"stdout": b"Traceback (most recent call last):\n"}, "a traceback"),
        ({"stderr": b"error: a fault of PocketBERT: x"}, "a fault"),
        ({"stderr": b"\x1b[31mred"}, "a raw escape sequence"),
        ({"stdout": b"positive"}, "another answer"),
    ],
)
def test_the_judge_recognises_the_bugs_of_a_command(values, bug, scratch):
    case = Case(commands=[Command(words=["verify"], expected_stdout=values.get("stdout", b"")[:0])])
    bugs = bugs_of(case, [finished(**values)], scratch, {}, {})
    assert any(bug in each for each in bugs) if bug else bugs == []


def test_the_judge_recognises_lost_files_and_planted_code(scratch):
    for name in ("changed", "missing", "cache", "kept"):
        (scratch.root / name).write_text(name)
    before = snapshot(scratch.root)
    (scratch.root / "missing").unlink()
    flip_bit(scratch.root / "changed", 3)
    flip_bit(scratch.root / "cache", 3)
    (scratch.root / "new").touch()
    scratch.harm.touch()
    case = Case(commands=[Command()], writes_nothing=True)
    bugs = bugs_of(case, [finished(code=2, stderr=b"error: x")], scratch, before, snapshot(scratch.root))
    expected = [
        "planted code ran",
        "changed: changed afterwards",
        "missing: missing afterwards",
        "new: written although",
    ]
    assert len(bugs) == 4 and all(any(each in bug for bug in bugs) for each in expected)


def test_the_judge_recognises_what_was_accepted_or_not_done(scratch):
    for condition, code, bug in (("must_refuse", 0, "accepted"), ("must_succeed", 2, "expected 0")):
        case = Case(commands=[Command()], **{condition: True})
        (line,) = bugs_of(case, [finished(code=code, stderr=b"error: x")], scratch, {}, {})
        assert bug in line


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(3)", lambda ended: ended.code == 3),
        ("import os; os.kill(os.getpid(), 11)", lambda ended: ended.code == -11),
        ("import time; time.sleep(30)", lambda ended: ended.is_over_time),
        ("x = bytearray(10**9)", lambda ended: 10**9 < ended.peak_bytes < 25 * 10**8),
    ],
)
def test_a_command_is_measured_and_limited(code, expected, scratch):
    command = Command(program=sys.executable, words=["-c", code], limit_s=2 if "sleep" in code else 60)
    ended = run_command(command, folder=scratch.root, environment=dict(os.environ), output=scratch.logs / "0")
    assert expected(ended)


def test_the_suite_has_what_the_documents_promise():
    attacks = cases.all_attacks(0)
    counts = {row["type"]: row["tried"] for row in runner.rows_of([_verdict(each) for each in attacks], cases.TYPES)}
    assert list(counts) == list(cases.TYPES)
    assert counts["bit flips in a bundle"] == 1000 and counts["kills"] == 20
    damages = ("bundle.json, golden examples", "files of a bundle", "model and tokenizer of a bundle")
    assert sum(counts[name] for name in (*damages, "results and manifests", "checkpoints and caches")) >= 200
    assert all(counts[name] >= 50 for name in ("recipes", "tables", "model folders"))
    assert counts["disk and cache"] + counts["clock, signals, streams"] >= 20


def test_the_short_part_has_every_type_and_is_the_same_each_time():
    attacks = cases.all_attacks(0)
    names = [[each.name for each in sample.short(attacks, seconds=60, seed=0)] for _ in range(2)]
    types = {each.type for each in sample.short(attacks, seconds=60, seed=0)}
    assert names[0] == names[1] and types == set(cases.TYPES)


def _verdict(attack) -> runner.Verdict:
    return runner.Verdict(name=attack.name, type=attack.type, is_refused=True, bugs=[], seconds=1.0)
