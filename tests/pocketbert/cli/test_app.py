"""What every command shares: errors in one line, exit codes, --debug."""

import re
import tomllib
from pathlib import Path

import pytest

from command_lines import commands
from pocketbert.cli import app

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing"], "no such command 'nothing'; see `pocketbert --help`"),
        (
            ["bench", "modells"],
            "bench: no such command 'modells'. Did you mean 'models'?; see `pocketbert bench --help`",
        ),
        (["run"], "run: missing argument 'RECIPE'; see `pocketbert run --help`"),
        (["bench", "models"], "bench models: missing argument 'FOLDER'; see `pocketbert bench models --help`"),
        (["compare", "a"], "compare: missing argument 'B'; see `pocketbert compare --help`"),
        (
            ["report", "a", "--opne"],
            "report: no such option: --opne (Possible options: --open); see `pocketbert report",
        ),
        (["bench", "models", "a", "--rounds"], "bench models: option '--rounds' requires an argument"),
        (["bench", "models", "a", "--rounds", "x"], "bench models: invalid value for '--rounds': "),
        (["bench", "models", "a", "--rounds", "1"], "bench models: invalid value for '--rounds': "),
        (["recipes", "a", "b"], "recipes: got unexpected extra argument(s) (b); see `pocketbert recipes --help`"),
        (["recipes", "a"], "a: not the name of a built-in recipe; expected one of cola, mnli"),
        (["schema", "a"], "a: there is no schema of that name; expected one of recipe, results"),
        (["export", "m"], "m: name a labelled table with --data; each variant is compared with torch on its rows"),
        (["report", "nothing"], "nothing/results.json: no such file"),
        (["explain", "nothing"], "nothing: no such folder"),
        (["verify", "nothing"], "nothing"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert app.main(arguments) == 2
    printed = capsys.readouterr()
    (error,) = printed.err.splitlines()
    assert error.startswith(f"error: {line}") and printed.out == "", error


@pytest.mark.parametrize(
    "words", [words for words, command in commands().items() if hasattr(command, "commands") and words != "cache"]
)
def test_a_group_alone_prints_its_help(words, capsys):
    assert app.main(words.split()) == 2
    printed = capsys.readouterr()
    assert "Usage:" in printed.out + printed.err and "error:" not in printed.err
    assert app.main([*words.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert all(f" {name} " in page for name in commands()[words].commands)


def test_the_version(capsys):
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pocketbert {app.__version__}\n"


def test_the_options_of_every_command_have_a_help_text_that_begins_like_a_sentence():
    texts = {
        (words, parameter.name): parameter.help or ""
        for words, command in commands().items()
        for parameter in command.params
        if not parameter.name.endswith("_completion")  # typer's own
    }
    assert len(texts) > 100
    for place, text in texts.items():
        assert text and not text.endswith(".") and not text.startswith(" "), place
    for words, command in commands().items():
        assert (command.help or "").strip().partition("\n")[0][-1:] in ".?", words


def test_debug_works_anywhere_and_is_a_text_behind_two_dashes(monkeypatch, capsys):
    def fail(folder) -> None:
        raise KeyError("x")

    monkeypatch.setattr("pocketbert.standalone.explain_export.export_result_of", fail)
    assert app.main(["explain", "a"]) == 1
    assert "error: a fault of PocketBERT: KeyError: 'x'; run the command again with --debug" in capsys.readouterr().err
    for arguments in (["--debug", "explain", "a"], ["explain", "--debug", "a"], ["explain", "a", "--debug"]):
        with pytest.raises(KeyError):
            app.main(arguments)
    assert app.main(["explain", "--", "--debug"]) == 1


def test_too_little_memory_is_no_fault_of_ours(monkeypatch, capsys):
    def fail(folder) -> None:
        raise MemoryError("Cannot allocate memory (os error 12)")

    monkeypatch.setattr("pocketbert.standalone.explain_export.export_result_of", fail)
    assert app.main(["explain", "a"]) == 2
    assert capsys.readouterr().err == "error: not enough memory; finished work is kept\n"


DISTRIBUTIONS = {  # that have another name than their package
    "OpenSSL": "pyopenssl",
    "cyclonedx": "cyclonedx-python-lib",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "model_signing": "model-signing",
    "prometheus_client": "prometheus-client",
}


@pytest.mark.parametrize("package", app.EXTRAS)
def test_a_package_that_is_not_installed_is_named_with_its_extra(package, monkeypatch, capsys):
    def fail(folder) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr("pocketbert.standalone.explain_export.export_result_of", fail)
    assert app.main(["explain", "a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {package} is not installed; install it with an extra: pip install ")
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"\[([\w-]+)\]'", line)
    assert tuple(named) == app.EXTRAS[package]
    for extra in named:
        packages = [re.match(r"[\w.-]+", each)[0] for each in with_nested(extra, extras)]
        distribution = DISTRIBUTIONS.get(package, package)
        assert distribution in packages or f"{distribution}-gpu" in packages, extra


def with_nested(extra: str, extras: dict[str, list[str]]) -> list[str]:
    """The packages of an extra, and of the extras in it."""
    nested = [
        name for each in extras[extra] for names in re.findall(r"pocketbert\[(.*)\]", each) for name in names.split(",")
    ]
    return [*extras[extra], *(each for name in nested for each in with_nested(name, extras))]
