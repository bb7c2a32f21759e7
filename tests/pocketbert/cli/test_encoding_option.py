"""Tables in other encodings than UTF-8, for the commands that need no recipe."""

import json
import shlex
from pathlib import Path

import pytest

from brief_benchmarks import make_benchmarks_brief
from pocketbert.cli import app
from pocketbert.standalone import bench_peers
from pocketbert.standalone.bench_models import BenchRequest, ModelOutputs
from tiny_bert import rows

WORD = "caf\xe9"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, with dev.csv, train.csv (cp1252) and ascii.csv (any encoding)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    for name, seed, word in (("dev", 1, WORD), ("train", 2, WORD), ("ascii", 3, "cafe")):
        lines = ["text,label", *(f"{text} {word},{label}" for text, label in rows(40, seed=seed))]
        (tmp_path / f"{name}.csv").write_bytes(("\n".join(lines) + "\n").encode("cp1252"))
    return tmp_path


def exit_code(*arguments: object) -> int:
    return app.main([str(argument) for argument in arguments])


def export(model: Path, *options: str) -> tuple[object, ...]:
    return ("export", model, "--variant", "fp32", "--max-length", 32, "--output", "out", *options)


def peers(model: Path, bundle: Path, *options: str) -> tuple[object, ...]:
    return ("bench", "peers", model, bundle, "--peer", "OpenVINO", "--json", *options)


def test_export_and_benchmark_read_a_table_in_another_encoding(folder, teacher_folder, capsys, monkeypatch):
    make_benchmarks_brief(monkeypatch)
    options = ("--data", "dev.csv", "--encoding", "cp1252")
    assert exit_code(*export(teacher_folder, *options, "--calibration", "train.csv")) == 0
    golden = json.loads((folder / "out" / "fp32" / "bundle.json").read_text(encoding="utf-8"))["golden"]
    assert WORD in json.dumps(golden, ensure_ascii=False)
    capsys.readouterr()
    assert (
        exit_code(
            "bench",
            "models",
            teacher_folder,
            "out/fp32",
            *options,
            "--rounds",
            2,
            "--threads",
            1,
            "--grid",
            "1x8",
            "--json",
        )
        == 0
    )
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [0 <= row["score"] <= 1 for row in results["stages"]["bench"]["rows"][:2]] == [True, True]
    assert "--encoding cp1252" in results["reproduce"]["command"], "so that the command can be run again"


@pytest.mark.parametrize("with_data", [True, False])
def test_peers_get_calibration_rows_in_another_encoding(folder, teacher_folder, monkeypatch, with_data):
    """Without the conversions and the measurement: they need the package index, and minutes."""
    assert exit_code(*export(teacher_folder, "--data", "ascii.csv")) == 0
    converted, measured = [], []

    def convert_in_environment(peer, python, model, rows, *options) -> dict[str, str]:
        converted.extend(rows)
        return {variant.label: "left out" for variant in peer.variants}

    def bench_contenders(lineup, request, *, command, **options) -> dict[str, object]:
        if request.data is not None:
            assert all(WORD in text for text in request.workload(ModelOutputs(labels=("negative", "positive"))).texts)
        measured.append([*command, *request.options()])
        return {}

    monkeypatch.setattr(bench_peers, "environment", lambda peer, folder: Path("python"))
    monkeypatch.setattr(bench_peers, "convert_in_environment", convert_in_environment)
    monkeypatch.setattr(bench_peers, "bench_contenders", bench_contenders)
    data = ("--data", "dev.csv") if with_data else ()
    options = ("--encoding", "cp1252", "--calibration", "train.csv", *data)
    assert exit_code(*peers(teacher_folder, folder / "out" / "fp32", *options)) == 0
    assert len(converted) == 40 and all(WORD in text for (text,) in converted)
    (command,) = measured
    assert command.count("--encoding") == command.count("--label") == 1
    assert command[command.index("--encoding") + 1] == "cp1252"


@pytest.mark.parametrize(("data", "calibration"), [("dev.csv", "ascii.csv"), ("ascii.csv", "train.csv")])
def test_a_wrong_encoding_is_one_line_that_names_the_option(folder, teacher_folder, capsys, data, calibration):
    """In either of the two tables. Nothing is written or measured."""
    assert exit_code(*export(teacher_folder, "--data", "ascii.csv")) == 0
    tables = ("--data", data, "--calibration", calibration)
    commands = [
        export(teacher_folder, *tables, "--output", "again"),
        peers(teacher_folder, folder / "out" / "fp32", *tables),
    ]
    if data == "dev.csv":
        commands.append(("bench", "models", teacher_folder, "--data", data))
    for arguments in commands:
        capsys.readouterr()
        assert exit_code(*arguments) == 2, arguments
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        assert "not utf-8 text" in line and "--encoding" in line, line
    assert not (folder / "again").exists()


def test_a_request_gives_the_options_that_it_was_made_of():
    request = BenchRequest(data=Path("a b.csv"), text=("q", "a"), label="y", encoding="latin-1", num_threads=1)
    options = shlex.join(request.options())
    assert options.startswith("--data 'a b.csv' --label y --text q --text a --encoding latin-1 ")
    assert "--encoding" not in BenchRequest(num_threads=1).options(), "without a table there is nothing to read"
