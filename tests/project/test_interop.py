"""The runner of `make interop`, with programs that are a few lines of Python."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from regions import interop as interop_regions
from tests.interop import __main__ as runner
from tests.interop.__main__ import CONSUMERS
from tests.interop.cells import DRIVERS, Cell, read_inputs
from tests.interop.consumers import Consumer
from tests.interop.environments import STAMP, UnavailableError, folder_of
from tests.interop.table import entry, read_cells
from tiny_bundles import build_fp32_bundle

TEXTS = ["a warm film", "dull plot and music", "the cast was lovely"]
ECHO = """
import json, sys
from pathlib import Path
job = json.load(sys.stdin)
with open(job["environment"] + "/calls", "a") as file:
    file.write(job["bundle"] + "\\n")
logits = json.loads(Path(job["environment"], "logits.json").read_text())
rows = [{row} for a, b in logits]
print("a line of some library")
print(json.dumps({{"unbatched": rows, "batched": rows, "version": "1.0"}}))
"""
RIGHT = ECHO.format(row="[a, b]")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An environment without packages, which has the logits that a right program gives."""

    name: str
    logits: str = "[]"

    def create(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "logits.json").write_text(self.logits)


@dataclass(frozen=True, kw_only=True)
class Missing:
    name: str

    def create(self, folder: Path) -> None:
        raise UnavailableError("needs npm on the PATH")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("bundles"), teacher_folder, reviews, ["text"])


@pytest.fixture(scope="module")
def environment(bundle) -> Folder:
    return Folder(name="echo", logits=json.dumps(read_inputs(bundle, TEXTS).logits.tolist()))


@pytest.fixture
def run(tmp_path, bundle, environment, capsys):
    """Runs the runner on one consumer. Returns the exit code, what it prints, and the cell that it writes."""
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))

    def call(source: str, *, promised=("fp32",), environment=environment, name="a program"):
        driver = tmp_path / "driver.py"
        driver.write_text(source)
        consumer = Consumer(
            name=name,
            environment=environment,
            driver=str(driver),
            promised=promised,
            command=(sys.executable, "{driver}"),
        )
        options = ["--texts", tmp_path / "texts.txt", "--environments", tmp_path, "--output", tmp_path / "out.json"]
        code = runner.main([str(each) for each in (bundle, *options, "--no-tiny")], [consumer])
        (cell,) = read_cells(tmp_path / "out.json").values()
        return code, capsys.readouterr().out, cell

    return call


def test_a_program_with_the_outputs_of_predict_passes_and_runs_once(run, tmp_path):
    for _ in range(2):
        code, printed, cell = run(RIGHT)
        assert code == 0 and "0, 0e+00" in printed and "FAILED" not in printed
        assert (cell.num_texts, cell.changed, cell.changed_batched, cell.shift) == (3, 0, 0, 0.0)
    assert len((tmp_path / "echo" / "calls").read_text().splitlines()) == 1
    run(RIGHT + "\n")  # another driver
    assert len((tmp_path / "echo" / "calls").read_text().splitlines()) == 2


@pytest.mark.parametrize(("promised", "code", "outcome"), [(("fp32",), 1, "FAILED"), ((), 0, "no promise")])
def test_other_labels_fail_where_they_were_promised(run, promised, code, outcome):
    result, printed, cell = run(ECHO.format(row="[b, a]"), promised=promised)
    assert result == code and outcome in printed and cell.changed > 0
    assert f"{cell.changed} of 3 labels change; " in printed and "in batches; the tolerance is 5e-05" in printed


def test_a_small_difference_fails_too(run):
    code, printed, cell = run(ECHO.format(row="[a * 1.01, b]"))
    assert code == 1 and cell.changed == 0 and "an output moves by" in printed


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('this is no model')", "this is no model"),
        ("import json; print(json.dumps({'error': 'Error: no such file'}))", "no such file"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("raise SystemExit(7)", "exit code 7"),
        ("import json; print(json.dumps({'unbatched': [[1]], 'batched': None}))", "outputs of shape (1, 1); expected"),
    ],
)
def test_a_program_that_fails_gives_one_line(run, source, message):
    code, printed, cell = run(source)
    assert code == 1 and cell.message.startswith(message) and f"fp32: {message}" in printed
    assert entry(cell) == "no!"


def test_a_program_that_is_not_there_is_tried_the_next_time(run):
    code, printed, cell = run("", environment=Missing(name="missing"))
    assert code == 1 and entry(cell) == "not tried!" and "needs npm on the PATH" in printed
    assert run(RIGHT)[0] == 0


def test_an_environment_is_made_again_if_its_packages_change(tmp_path):
    folder = folder_of(Folder(name="one"), tmp_path)
    (folder / "kept").touch()
    assert (folder_of(Folder(name="one"), tmp_path) / "kept").exists()
    assert not (folder_of(Folder(name="one", logits="[1]"), tmp_path) / "kept").exists()
    (folder / STAMP).unlink()  # it was interrupted
    (folder / "kept").touch()
    assert not (folder_of(Folder(name="one", logits="[1]"), tmp_path) / "kept").exists()


def test_only_names_what_there_is(capsys):
    with pytest.raises(SystemExit):
        runner.main(["bundles", "--only", "tensorflow"])
    assert "expected part of onnxruntime 1.16.3, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        runner.main([str(DRIVERS)])
    assert "got no bundle" in capsys.readouterr().err


def test_every_consumer_has_its_driver_and_a_name_that_only_can_choose():
    assert len({consumer.name for consumer in CONSUMERS}) == len(CONSUMERS) > 20
    for consumer in CONSUMERS:
        assert (DRIVERS / consumer.driver).is_file() and "," not in consumer.name
        assert "page" not in consumer.options or (DRIVERS / "js" / str(consumer.options["page"])).is_file()


def test_the_page_shows_labels_differences_and_messages(tmp_path):
    (tmp_path / "interop").mkdir()
    cells = [
        Cell(consumer="a", variant="fp32", promised=True, num_texts=200, difference=2e-7),
        Cell(consumer="a", variant="int8-dynamic", promised=True, changed_batched=2, difference_batched=0.26),
        Cell(consumer="b", variant="fp32", promised=False, message="no QAttention"),
        Cell(consumer="b", variant="int8-static", promised=False, message="no QAttention"),
    ]
    runner.write_cells(tmp_path / "interop" / "interop.json", cells, notes={}, num_texts=200)
    assert interop_regions.REGIONS["interop-table"](tmp_path).splitlines()[2:] == [
        "| a | 0; < 0.0001 | 0, 2 in batches; 0.260 |  |  |  |  |  |  |",
        "| b | no |  | no |  |  |  |  |  |",
    ]
    assert interop_regions.REGIONS["interop-messages"](tmp_path) == (
        'The messages of the 2 cells with "no":\n\n- b, `fp32`, `int8-static`: no QAttention'
    )
