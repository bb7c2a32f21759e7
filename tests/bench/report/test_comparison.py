"""Two runs compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.report.comparison import HEADER, compare_results
from bench.results.document import Results, write_results
from bench.results.measurements import Ratio
from compress.common.errors import UserError
from example_results import BENCH, BUNDLE, RESULTS, ROWS, with_bench, with_row
from pocketbert.cli import app

MODEL = "student int8-dynamic, onnxruntime"


class Compared(NamedTuple):
    """The cells of MODEL's line, and the remarks."""

    difference: str
    change: str
    sizes: tuple[str, ...]
    remarks: list[str]


def changed(**row: Any) -> Results:
    return replace(with_row(BUNDLE, **row), name="another")


def line_of(second: Results, *, other_machine: bool = False) -> Compared:
    comparison = compare_results(RESULTS, second, other_machine=other_machine)
    (line,) = [cells for cells in comparison.cells if cells[0] == MODEL]
    assert len(line) == len(HEADER)
    return Compared(difference=line[3], change=line[6], sizes=line[7:], remarks=comparison.remarks)


def test_the_same_is_no_difference():
    compared = line_of(changed())
    assert compared.difference == "+0.000 (not significant: within 0.099)"
    assert compared.change.endswith(": no practical difference") and compared.sizes == ("8.0 MB", "8.0 MB")
    assert not compared.remarks


def test_a_difference_has_its_interval():
    interval = Ratio(value=30.0, low=29.0, high=31.0)
    compared = line_of(changed(speedup=interval, score=0.6, size_bytes=4_000_000))
    assert compared.change.startswith("1.50 (") and compared.change.endswith(": faster")
    assert compared.difference == "-0.250" and compared.sizes == ("8.0 MB", "4.0 MB")
    noisy = Ratio(value=22.0, low=15.0, high=30.0)
    assert line_of(changed(speedup=noisy)).change.endswith(": not significant")


def test_other_machines_are_compared_only_on_request():
    machine = replace(BENCH.machine, cpu="Another", versions={"torch": "2.14.0"})
    other = with_bench(machine=machine)
    with pytest.raises(UserError, match="cpu: A processor and Another"):
        compare_results(RESULTS, other, other_machine=False)
    remarks = line_of(other, other_machine=True).remarks
    assert remarks == ["OTHER MACHINES: cpu: A processor and Another", "other versions: torch 2.13.0 and 2.14.0"]


def test_results_with_nothing_in_common_are_refused():
    others = with_bench(rows=[replace(row, label=f"another {row.label}") for row in ROWS])
    with pytest.raises(UserError, match="no row in common"):
        compare_results(RESULTS, others, other_machine=False)
    other = replace(with_bench(metric="f1"), name="another")
    with pytest.raises(UserError, match="another: scored by f1, a <b> recipe by accuracy"):
        compare_results(RESULTS, other, other_machine=False)
    comparison = compare_results(RESULTS, changed(label="something else"), other_machine=False)
    assert comparison.remarks == [f"only in a <b> recipe: {MODEL}", "only in another: something else, onnxruntime"]


def test_a_model_is_the_same_where_all_is_that_says_what_was_measured():
    """Two variants that their users call the same are not compared with one another."""
    comparison = compare_results(RESULTS, changed(variant="int8-static"), other_machine=False)
    assert MODEL not in [line[0] for line in comparison.cells]
    assert comparison.remarks == [f"only in a <b> recipe: {MODEL}", f"only in another: {MODEL}"]


def test_smoke_runs_and_other_rows_are_named():
    run = replace(RESULTS.run, smoke=True, num_rows=replace(RESULTS.run.num_rows, test=12))
    comparison = compare_results(RESULTS, replace(RESULTS, name="tried", run=run), other_machine=False)
    assert comparison.remarks == [
        "tried is a smoke run: its scores and speeds say nothing about a full run",
        "other rows: scored on 100 test rows and on 12 test rows, so a difference may come from the rows",
    ]


def test_the_command_prints_both(tmp_path: Path, capsys):
    for name, results in (("a", RESULTS), ("b", changed(score=0.6))):
        (tmp_path / name).mkdir()
        write_results(results, tmp_path / name)
    assert app.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    assert "a <b> recipe, then another" in printed and "-0.250" in printed
    assert app.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["a <b> recipe", "another"]
