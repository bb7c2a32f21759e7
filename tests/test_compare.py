"""Two runs side by side."""

import copy
import json
from pathlib import Path

import pytest
from test_bench import fixed_results

from bench.compare import HEADER, compare
from compress.errors import UserError
from pocketbert import cli

MODEL = "student int8-dynamic, onnxruntime"


def changed(**row: object) -> dict:
    results = copy.deepcopy(fixed_results())
    results["name"] = "another"
    results["stages"]["bench"]["rows"][1] |= row
    return results


def line_of(second: dict, **options: bool) -> dict[str, str]:
    found = compare(fixed_results(), second, **{"other_machine": False, **options})
    (line,) = [cells for cells in found["cells"] if cells[0] == MODEL]
    assert len(line) == len(HEADER)
    return {"difference": line[3], "change": line[6], "sizes": line[7:], "remarks": found["remarks"]}


def test_the_same_is_no_difference():
    found = line_of(changed())
    assert found["difference"] == "+0.000 (not significant: within 0.099)"
    assert found["change"].endswith(": no practical difference") and found["sizes"] == ("8.0 MB", "8.0 MB")
    assert not found["remarks"]


def test_what_differs_is_told_with_its_interval():
    interval = {"value": 30.0, "low": 29.0, "high": 31.0}
    found = line_of(changed(texts_ratio=interval, score=0.6, size_bytes=4_000_000))
    assert found["change"].startswith("1.50 (") and found["change"].endswith(": faster")
    assert found["difference"] == "-0.250" and found["sizes"] == ("8.0 MB", "4.0 MB")
    noisy = {"value": 22.0, "low": 15.0, "high": 30.0}
    assert line_of(changed(texts_ratio=noisy))["change"].endswith(": not significant")


def test_other_machines_are_compared_only_when_told_to():
    other = changed()
    other["stages"]["bench"]["machine"] |= {"cpu": "Another", "versions": {"torch": "2.14.0"}}
    with pytest.raises(UserError, match="cpu: A processor and Another"):
        compare(fixed_results(), other, other_machine=False)
    remarks = line_of(other, other_machine=True)["remarks"]
    assert remarks == ["OTHER MACHINES: cpu: A processor and Another", "other versions: torch 2.13.0 and 2.14.0"]


def test_nothing_in_common_is_told():
    other = changed(name="something else")
    other["stages"]["bench"]["rows"][0]["name"] = "another teacher"
    with pytest.raises(UserError, match="no model of the same name"):
        compare(fixed_results(), other, other_machine=False)
    other = changed()
    other["stages"]["bench"]["metric"] = "f1"
    with pytest.raises(UserError, match="scored by f1, a <b> recipe by accuracy"):
        compare(fixed_results(), other, other_machine=False)
    found = compare(fixed_results(), changed(name="something else"), other_machine=False)
    assert found["remarks"] == [f"only in a <b> recipe: {MODEL}", "only in another: something else"]


def test_the_command_prints_both(tmp_path: Path, capsys):
    for name, results in (("a", fixed_results()), ("b", changed(score=0.6))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    assert cli.main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert "a <b> recipe, then another" in told and "-0.250" in told
    assert cli.main(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["a <b> recipe", "another"]
