"""The README is true: its commands run, its tree is the one on disk, what it names is there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pocketbert.recipe import Recipe

ROOT = Path(__file__).parent.parent
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


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_files_that_other_documents_name_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:compress|export|bench|pocketbert|tests)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path
