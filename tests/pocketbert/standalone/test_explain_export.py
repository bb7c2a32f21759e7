"""`explain` reads runs, bundles and export folders; `export` leaves a record of all variants behind."""

import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from bench.results.document import read_results, write_results
from compress.common.errors import UserError
from compress.common.owned_files import open_output
from example_results import RESULTS
from pocketbert.cli import app
from pocketbert.standalone.explain_export import EXPORT_FILE, export_result_of, write_export_file
from pocketbert.standalone.export_model import ExportRequest, export_model

EXPORT = RESULTS.stages.export


def test_a_run_an_export_folder_and_a_bundle(bundle, tmp_path):
    write_results(RESULTS, tmp_path)
    assert export_result_of(tmp_path) == EXPORT
    (tmp_path / "export").mkdir()
    write_export_file(open_output(tmp_path / "export", [EXPORT_FILE]), EXPORT)
    assert export_result_of(tmp_path / "export") == EXPORT
    assert list(export_result_of(bundle).variants) == ["fp32"]


def test_a_folder_of_bundles_without_a_record_is_read_bundle_by_bundle(bundle, tmp_path):
    for name in ("fp32", "int8-static"):
        copy = shutil.copytree(bundle, tmp_path / name)
        content = json.loads((copy / "bundle.json").read_text(encoding="utf-8"))
        content |= {"variant": name, "recommended": name == "int8-static"}
        (copy / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    result = export_result_of(tmp_path)
    assert list(result.variants) == ["fp32", "int8-static"] and result.recommended == "int8-static"
    assert result.variants["fp32"].parity == export_result_of(bundle).variants["fp32"].parity


def test_a_second_export_into_the_folder_keeps_the_variants_of_the_first(tmp_path):
    (name, first), *_ = EXPORT.variants.items()
    owned = open_output(tmp_path, [EXPORT_FILE])
    write_export_file(owned, replace(EXPORT, variants={name: first}))
    write_export_file(owned, replace(EXPORT, variants={"fp16": replace(first, failures=["too slow"])}))
    assert list(export_result_of(tmp_path).variants) == [name, "fp16"]


def test_export_records_the_variants_that_it_does_not_write_too(tmp_path, monkeypatch, teacher_folder, reviews, capsys):
    """A share of more than torch's own metric is out of reach."""
    monkeypatch.chdir(tmp_path)
    options = ["--data", str(reviews), "--max-length", "32", "--variant", "fp32", "--output", "out"]
    monkeypatch.setattr("export.gate.gate_failures", lambda gate, inputs: ["planted"])
    assert app.main(["export", str(teacher_folder), *options]) == 3
    assert not (tmp_path / "out" / "fp32").exists() and "not written: planted" in capsys.readouterr().out
    assert app.main(["explain", "out"]) == 0
    assert "planted" in capsys.readouterr().out
    assert app.main(["explain", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["variants"]["fp32"]["failures"] == ["planted"]


def test_what_cannot_be_explained(tmp_path, teacher_folder):
    benchmark = replace(RESULTS, stages=replace(RESULTS.stages, export=None))
    (tmp_path / "bench").mkdir()
    write_results(benchmark, tmp_path / "bench")
    assert read_results(tmp_path / "bench").stages.export is None
    (tmp_path / "damaged").mkdir()
    for content in ("{", '{"variants": 3}', "[]"):
        (tmp_path / "damaged" / EXPORT_FILE).write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"export\.json: .*; remove the file"):
            export_result_of(tmp_path / "damaged")
    request = ExportRequest(data=tmp_path / "nothing.csv", variants=["fp32"], max_length=32)
    with pytest.raises(UserError, match=r"export\.json: "):  # before the table is read
        export_model(str(teacher_folder), request, output=tmp_path / "damaged", console=Console(quiet=True))
    for folder, message in {
        tmp_path / "nothing": "no such folder",
        tmp_path: "no run (results.json), bundle (bundle.json) or folder of bundles",
        tmp_path / "bench": "results.json is of a benchmark, which exports nothing",
    }.items():
        with pytest.raises(UserError) as caught:
            export_result_of(folder)
        assert message in str(caught.value)
