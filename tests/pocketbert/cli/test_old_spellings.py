"""Command lines of version 0.2 print their new spelling, complete, and do nothing else."""

import shlex

import pytest

from command_lines import commands, parse, pocketbert_words
from pocketbert.cli import app
from pocketbert.cli_parts import old_spellings

OLD_TO_NEW = {
    # commands with a new name
    "bench-training sst2": "bench training sst2",
    "bench-training sst2 --compile --rows 64": "bench training sst2 --compile --rows 64",
    "bench-augment sst2 --rows=100 --json": "bench augmentation sst2 --rows=100 --json",
    "bench-augment my.yaml --set 'task={data: a b.csv}'": "bench augmentation my.yaml --set 'task={data: a b.csv}'",
    "bench-peers m b1 b2 --calibration t.csv": "bench peers m b1 b2 --calibration t.csv",
    "bench-shapes": "bench shapes",
    "bench-shapes --shape BERT-base --grid 1x128": "bench shapes --shape BERT-base --grid 1x128",
    "bench-shapes --help": "bench shapes --help",
    # bench FOLDER
    "bench bundles/fp32": "bench models bundles/fp32",
    "bench nothing": "bench models nothing",
    "bench models/a bundles/fp32 --data dev.csv": "bench models models/a bundles/fp32 --data dev.csv",
    "bench --data dev.csv --text sentence a b": "bench models --data dev.csv --text sentence a b",
    "bench --rounds=3 a --json b": "bench models --rounds=3 a --json b",
    "bench a --limits --thread-sweep --output out": "bench models a --roofline --thread-sweep --output out",
    "bench --limits a": "bench models --roofline a",
    "bench 'my models/a b' --data 'dev 1.csv'": "bench models 'my models/a b' --data 'dev 1.csv'",
    "bench a --load 20 --processes 2": "bench models a --load 20 --processes 2",
    "bench --data models models": "bench models --data models models",
    "bench ./models ./peers": "bench models ./models ./peers",
    "bench -- -odd": "bench models -- -odd",
    # bench --check
    "bench a --check 3": "bench self-check a --runs 3",
    "bench a --check=3": "bench self-check a --runs=3",
    "bench --check 3 a --rounds 2": "bench self-check --runs 3 a --rounds 2",
    "bench --check=20 --data dev.csv a --limits --json": "bench self-check --runs=20 --data dev.csv a --json",
    "bench a --device cpu --compile --load 5 --processes 2 --thread-sweep --grid 1x8 --check 3": (
        "bench self-check a --runs 3"  # the others had no effect
    ),
    # old flags with the new command
    "bench models a --limits": "bench models a --roofline",
    "bench models --limits --data dev.csv a b": "bench models --roofline --data dev.csv a b",
    "bench models a --check 3": "bench self-check a --runs 3",
    # export --explain
    "export runs/a --explain": "explain runs/a",
    "export --explain runs/a": "explain runs/a",
    "export --explain --json bundles/fp32": "explain --json bundles/fp32",
    "export runs/a --explain --output out --variant fp32": "explain runs/a",  # the others had no effect
    "export m --data dev.csv --explain": "export m --data dev.csv && pocketbert explain bundles/m",
    "export --explain models/m --task-data=dev.csv": (
        "export models/m --task-data=dev.csv && pocketbert explain bundles/m"
    ),
    "export m --data 'a b.csv' --explain --output 'my bundles'": (
        "export m --data 'a b.csv' --output 'my bundles' && pocketbert explain 'my bundles'"
    ),
    "export m --data dev.csv --explain --output=out": "export m --data dev.csv --output=out && pocketbert explain out",
    "export m --data dev.csv --explain --json": "export m --data dev.csv --json",
    # report A B
    "report a b": "compare a b",
    "report a b --other-machine": "compare a b --other-machine",
    "report --other-machine a --json b": "compare --other-machine a --json b",
    "report a b --open": "compare a b",  # it had no effect
    "report a --json": "report a",
    "report a --open --other-machine": "report a --open",
    "report 'run 1' 'run 2'": "compare 'run 1' 'run 2'",
    # an option of the root, and --debug
    "--debug bench-shapes": "--debug bench shapes",
    "bench a --debug --check 3": "bench self-check a --debug --runs 3",
}


def new_spelling_of(old: str, capsys) -> str:
    """The new command line that an old one prints, in the only line of its output."""
    assert app.main(shlex.split(old)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    prefix, _, command = line.partition(": pocketbert ")
    assert prefix.startswith("error: `") and "` is now `" in prefix and prefix.endswith("`"), line
    return command


@pytest.mark.parametrize("old", OLD_TO_NEW)
def test_an_old_spelling_prints_the_complete_new_one(old, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = new_spelling_of(old, capsys)
    assert command == OLD_TO_NEW[old]
    assert list(tmp_path.iterdir()) == []
    for words in pocketbert_words(f"pocketbert {command}"):
        words = [word for word in words if word != "--debug"]
        parse(words)
        assert old_spellings.new_spelling(words, commands()[""]) is None


@pytest.mark.parametrize("old", OLD_TO_NEW)
def test_the_folders_that_an_old_spelling_names_change_nothing(old, capsys, tmp_path, monkeypatch):
    """Also where there are folders named like benchmarks."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "nothing", "bundles/fp32", "models/a", "peers", "training", "self-check", "shapes"):
        (tmp_path / name).mkdir(parents=True)
    assert new_spelling_of(old, capsys) == OLD_TO_NEW[old]


NEW = [
    "bench", "bench --help", "bench models a", "bench models models", "bench models peers --data dev.csv",
    "bench self-check models", "bench peers m b --calibration t.csv", "bench shapes", "bench training training",
    "bench augmentation sst2 --set augment.probability=0.1", "bench selfcheck a", "bench modells a",
    "export m --data dev.csv", "export m --text --explain", "explain runs/a", "report a", "report a --open",
    "compare a b", "run bench", "new bench", "predict b --input bench", "--help", "--version", "",
    "--install-completion bash", "predict bench-peers export --explain",
]  # fmt: skip


@pytest.mark.parametrize("line", NEW)
def test_a_new_spelling_is_left_alone(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("models", "peers", "a"):
        (tmp_path / name).mkdir()
    assert old_spellings.new_spelling(shlex.split(line), commands()[""]) is None


def test_a_folder_named_like_a_benchmark_is_never_meant_by_its_name_alone(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("models", "peers", "training"):
        (tmp_path / name).mkdir()
    for line, missing in {
        "bench models": "bench models: missing argument 'FOLDER'; see `pocketbert bench models --help`",
        "bench peers": "bench peers: missing argument 'MODEL'",
        "bench training": "bench training: missing argument 'RECIPE'",
    }.items():
        assert app.main(line.split()) == 2
        (printed,) = capsys.readouterr().err.splitlines()
        assert printed.startswith(f"error: {missing}"), printed


def test_a_folder_named_models_can_be_checked_and_compared_with_the_roofline(capsys, tmp_path, monkeypatch):
    """In 0.2 these named the folder; there is no other argument."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert new_spelling_of("bench models --check 3", capsys) == "bench self-check models --runs 3"
    assert new_spelling_of("bench models --limits", capsys) == "bench models models --roofline"


def test_the_options_of_0_2_that_take_a_value_still_do():
    """So that their values are not taken for folders."""
    benchmarks = commands()["bench"].commands
    known = old_spellings._flags_with_value(benchmarks["models"], benchmarks["self-check"])
    assert known >= {
        "--data", "--text", "--label", "--encoding", "--device", "--threads", "--rounds", "--restart-every", "--grid",
        "--load", "--processes", "--output",
    }  # fmt: skip
    assert not known & {"--json", "--compile", "--thread-sweep"}
    assert {"--task-data", "--data", "--output", "--variant"} <= old_spellings._flags_with_value(commands()["export"])
