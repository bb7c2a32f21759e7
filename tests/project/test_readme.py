"""The README is true: its commands run, its tree is the one on disk, what it names is there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from pocketbert.cli.app import app as cli_app
from pocketbert.recipe.sections import Recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("pocketbert", "compress", "export", "bench")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def commands(prefix: str) -> list[list[str]]:
    """The command lines of the shell blocks that begin with a word, without their comments."""
    lines = [line for block in blocks("sh") + blocks("") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{prefix} ")]


def test_the_commands_run_as_they_stand(command, tmp_path, monkeypatch, base_folder, teacher_folder, reviews):
    """In their order, in a folder that holds the files they name. Training is shortened; the teacher is a tiny one."""
    shutil.copy(reviews, tmp_path / "reviews.csv")
    header, *lines = reviews.read_text().splitlines()
    (tmp_path / "dev.csv").write_text("\n".join([header, *lines[:150]]) + "\n")
    (tmp_path / "train.csv").write_text("\n".join([header, *lines[150:]]) + "\n")
    shutil.copytree(teacher_folder, tmp_path / "models" / "my-bert")
    (tmp_path / "general.yaml").write_text(
        f"name: general\ntask: {{data: reviews.csv, max_length: 32}}\nteacher: {{base: {base_folder}}}\n"
        "student: {layers: 2, width: 16, ffn_width: 32, heads: 4}\n"
        "distill: {general: {corpus: task, max_length: 32}}\n"
        "augment: {masked_lm: {train_head: {corpus: task, max_length: 32}}}\n"
    )
    monkeypatch.setenv("BROWSER", "true %s")
    added = {
        "new": ["--teacher", base_folder],
        "run": ["--smoke", "--output", "runs/reviews"],
        "general": ["--smoke"],
        "augment": ["--smoke"],
        "export": ["--variant", "fp32"],  # of random weights, others do not pass
        "bench": ["--rounds", 2],
    }
    seen = []
    for _, name, *arguments in commands("pocketbert"):
        if "runs/second-try" in arguments and not (tmp_path / "runs" / "second-try").exists():
            shutil.copytree(tmp_path / "runs" / "reviews", tmp_path / "runs" / "second-try", symlinks=True)
        found = command(name, *arguments, *added.get(name, []))
        assert found.returncode == 0, f"{name} {arguments}: {found.stderr}"
        seen.append(name)
    assert set(seen) == {
        "new", "check", "run", "recipes", "schema", "general", "augment", "export", "bench", "verify", "report",
        "curves", "doctor",
    }  # fmt: skip
    assert (tmp_path / "runs" / "reviews" / "bundles" / "fp32" / "predict.py").is_file()


def test_the_make_targets_are_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {words[1] for words in commands("make")} | set(re.findall(r"`make (\w+)`", README))
    assert {"quickstart", "test", "lint", "check"} <= named <= targets


def test_the_extras_are_there():
    extras = set(re.findall(r"'\.\[(\w+)\]'", README))
    project = (ROOT / "pyproject.toml").read_text()
    assert extras == {"cpu", "gpu", "quickstart"} and all(f"\n{extra} = [" in project for extra in extras)


def test_the_recipe_is_one():
    content, augmentation = (YAML(typ="safe", pure=True).load(text) for text in blocks("yaml"))
    assert Recipe.model_validate(content).student.preset == "tinybert4"
    assert Recipe.model_validate({**content, **augmentation}).augment.variants == 20


def test_the_tree_is_the_one_on_disk():
    (tree,) = [block for block in blocks("") if block.startswith("pocketbert/   the front door")]
    shown: dict[str, set[str]] = {}
    for line in tree.splitlines():
        if not line.startswith(" "):
            package = line.partition("/")[0]
            shown[package] = set()
        else:
            shown[package] |= set(re.findall(r"(?:^  |  )([a-z_]+/?)  ", line))
    assert set(shown) == {*PACKAGES, "tests"}
    for package in PACKAGES:
        on_disk = {path.stem for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")}
        on_disk |= {
            f"{path.name}/" for path in (ROOT / package).iterdir() if path.is_dir() and path.name != "__pycache__"
        }
        assert shown[package] == on_disk, package


MADE_BY_COMMANDS = {"bench/samples.json", "results/gpu/"}  # these lie in a run folder, or come of `make gpu`
NAMED = {
    "README.md": {"commands": 20, "options": 10, "targets": 4, "paths": 2, "links": 2},
    "CONTRIBUTING.md": {"commands": 0, "options": 0, "targets": 2, "paths": 15, "links": 0},
    "CHANGELOG.md": {"commands": 8, "options": 5, "targets": 0, "paths": 0, "links": 0},
}


def code_in(text: str) -> list[str]:
    """What a Markdown file sets as code: each line of its blocks, without comments, and each span in backticks."""
    block = re.compile(r"^```\w*\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for content in block.findall(text) for line in content.splitlines()]
    return [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", block.sub("", text)))]


def options_of(command) -> set[str]:
    """The options of one of typer's commands."""
    return {"--help", "--debug", *(name for parameter in command.params for name in parameter.opts)}


@pytest.mark.parametrize("name", NAMED)
def test_what_the_documents_name_is_there(name):
    """Commands and their options, targets of make, paths and links; at least as many of each as `NAMED` says."""
    app = typer.main.get_command(cli_app)
    known = set.union(options_of(app), *map(options_of, app.commands.values()))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    path = re.compile(r"(?:compress|export|bench|pocketbert|tests|results)/[\w/.<>-]*")
    text = (ROOT / name).read_text(encoding="utf-8")
    counts = dict.fromkeys(NAMED[name], 0)
    for code in code_in(text):
        if called := re.search(r"(?:^|-m )pocketbert ([a-z][a-z-]*)(.*)", code):
            counts["commands"] += 1
            command, arguments = called.groups()
            assert command in app.commands, code
            options = re.findall(r"(?<!\S)--[a-z][a-z-]*", arguments)
            assert set(options) <= options_of(app.commands[command]), code
            counts["options"] += len(options)
        elif option := re.match(r"--[a-z][a-z-]*", code):
            counts["options"] += 1
            assert option[0] in known, code
        elif target := re.fullmatch(r"make (\w+)", code):
            counts["targets"] += 1
            assert target[1] in targets, code
        elif path.fullmatch(code) and code not in MADE_BY_COMMANDS:
            counts["paths"] += 1
            assert list(ROOT.glob(code.replace("<name>", "*"))), code
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        counts["links"] += 1
        assert (ROOT / link).exists(), link
    assert {what: counts[what] >= least for what, least in NAMED[name].items()} == dict.fromkeys(counts, True), counts
