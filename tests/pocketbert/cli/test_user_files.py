"""No command changes a file of the user, whatever its name is."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.results.document import write_results
from command_lines import commands
from example_results import RESULTS
from sandbox import run_in_process
from tiny_bert import rows, write_csv
from tiny_recipes import write_recipe

STAGES = ("baseline", "search", "teacher", "general", "masked_lm", "augment", "intermediate", "prediction", "export",
          "bench")  # fmt: skip
NAMES = (  # that commands write into an output folder
    ".lock", ".pid", ".partial/teacher/fingerprint", ".partial/gate/output/x", "log.txt", "tensorboard/events",
    "recipe.yaml", "bundles/fp32/bundle.json", "bundles/fp32/.git/HEAD", "results.json", "samples.json", "report.html",
    "report.md", "training.json", "augmentation.json", "self-check.json", "curves.svg", "curves.json", "export.json",
    "design.svg", "design.json", "ablation.json", "ablation.md", "rows/x.json",
    "peers/calibration.json", "fp32/model.onnx", "set-aside-1/x", "report.html.partial",
    ".git/HEAD", "models/mine/config.pbtxt", "Dockerfile",
    *(f"{stage}/notes.txt" for stage in STAGES),
)  # fmt: skip
WRITING: dict[str, Callable[[Path], list[object]]] = {
    "run": lambda output: ["tiny.yaml", "--output", output],
    "general": lambda output: ["tiny.yaml", "--output", output],
    "augment": lambda output: ["tiny.yaml", "--output", output],
    "export": lambda output: ["model", "--data", "reviews.csv", "--variant", "fp32", "--output", output],
    "ablate": lambda output: ["tiny.yaml", "--table", "mapping", "--output", output],
    "design": lambda output: ["--latency-ms", 1, "--output", output],
    "package": lambda output: ["model", "--target", "aarch64", "--output", output / "results.json"],
    "report": lambda output: [output],
    "curves": lambda output: ["finished", "finished", "--stage", "teacher", "--output", output],
    "new": lambda output: ["reviews.csv", "--output", output / "recipe.yaml"],
    "triton": lambda output: ["bundle", "--output", output],
    "bench models": lambda output: ["model", "--output", output],
    "bench self-check": lambda output: ["model", "--output", output],
    "bench peers": lambda output: ["model", "model", "--calibration", "reviews.csv", "--output", output],
    "bench shapes": lambda output: ["--output", output],
    "bench training": lambda output: ["tiny.yaml", "--output", output],
    "bench augmentation": lambda output: ["tiny.yaml", "--output", output],
}
OTHERS = {  # they write nothing; `cache prune`, and what signs and pushes bundles, have tests of their own
    "", "bench", "cache", "cache prune", "check", "compare", "demo", "doctor", "explain", "predict", "push", "recipes",
    "sbom", "schema", "serve", "sign", "verify",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory, base_folder, teacher_folder) -> Path:
    """A folder with the inputs of all commands, and a folder of the user's files."""
    root = tmp_path_factory.mktemp("place")
    write_csv(root / "reviews.csv", ("text", "label"), rows(80))
    (root / "model").symlink_to(teacher_folder)
    augment = {"masked_lm": {"train_head": {"corpus": "task", "max_length": 32}}}
    write_recipe(root, Path("reviews.csv"), teacher={"base": str(base_folder)}, augment=augment)
    (root / "finished").mkdir()
    entry = {"epoch": 1.0, "loss": 1.0, "learning_rate": 1e-3, "parts": {"hidden": 1.0}}
    history = [{**entry, "step": step} for step in (1, 2)]
    training = {"history": history, "num_steps": 2, "seconds": 1.0}
    stage = {"fingerprint": "a", "files": {}, "result": {"training": training}, "seconds": 1.0, "versions": {}}
    manifest = {"format_version": 2, "stages": {"teacher": stage}}
    (root / "finished" / "manifest.json").write_text(json.dumps(manifest))
    return root


def fill(folder: Path) -> None:
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the user's {name}")


def contents(folder: Path) -> dict[str, str]:
    """Every path in a folder, with the hash of a file and the target of a link."""
    paths = (Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files))
    return {str(path.relative_to(folder)): describe(path) for path in paths}


def describe(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"


def test_each_command_is_known_to_write_or_not():
    assert set(commands()) == set(WRITING) | OTHERS


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_of_user_files_stays_as_it_is(place, tmp_path, command):
    folder = tmp_path / "mine"
    fill(folder)
    if command == "report":  # it needs results
        write_results(RESULTS, folder)
    before = contents(folder)
    done = run_in_process(
        *command.split(), *WRITING[command](folder), folder=place, environment={"POCKETBERT_CACHE": str(tmp_path / "c")}
    )
    assert done.returncode == 2, done.stderr
    assert f"{folder}/" in done.stderr and "already exists" in done.stderr, done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("name", sorted({name.split("/")[0] for name in NAMES} & {
    ".lock", ".partial", ".pid", "bundles", "log.txt", "recipe.yaml", "report.html", "results.json", "tensorboard",
    *STAGES,
}))  # fmt: skip
@pytest.mark.parametrize("content", ["file", "folder", "link to nothing"])
def test_a_run_refuses_each_name_on_its_own(place, tmp_path, name, content):
    path = tmp_path / "mine" / name
    path.parent.mkdir()
    match content:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "mine")
    done = run_in_process("run", "tiny.yaml", "--output", tmp_path / "mine", folder=place, environment={})
    assert done.returncode == 2 and f"{path}: already exists" in done.stderr
    assert contents(tmp_path / "mine") == before and not (tmp_path / "elsewhere").exists()


def test_the_data_folder_as_output_keeps_its_files(place, tmp_path, base_folder):
    """`--output .` with the recipe, the data and a repository in it. The run's own recipe.yaml is refused."""
    write_csv(tmp_path / "train.csv", ("text", "label"), rows(80))
    recipe = write_recipe(tmp_path, Path("train.csv"), name="mine.yaml", teacher={"base": str(base_folder)})
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    before = contents(tmp_path)
    environment = {"POCKETBERT_CACHE": str(place / "cache")}
    for _ in range(2):
        done = run_in_process(
            "run", recipe, "--output", ".", "--until", "baseline", folder=tmp_path, environment=environment
        )
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path).items() >= before.items()
    (tmp_path / "other").mkdir()
    (tmp_path / "mine.yaml").rename(tmp_path / "other" / "recipe.yaml")
    before = contents(tmp_path / "other")
    done = run_in_process("run", "other/recipe.yaml", "--output", "other", folder=tmp_path, environment={})
    assert done.returncode == 2 and "other/recipe.yaml: already exists" in done.stderr
    assert contents(tmp_path / "other") == before


def test_an_edited_recipe_in_the_run_folder_can_run_and_is_kept(place, tmp_path, base_folder):
    recipe = write_recipe(tmp_path, place / "reviews.csv", teacher={"base": str(base_folder)})
    run = ["run", "--output", "out", "--until", "baseline"]
    assert run_in_process(*run, recipe, folder=tmp_path, environment={}).returncode == 0
    ours = tmp_path / "out" / "recipe.yaml"
    edited = ours.read_text() + "\n# my notes\n"
    ours.write_text(edited)
    done = run_in_process(*run, ours, folder=tmp_path, environment={})
    assert done.returncode == 0 and f"moved to {tmp_path}/out/set-aside-1/recipe.yaml" in done.stderr, done.stderr
    assert (tmp_path / "out" / "set-aside-1" / "recipe.yaml").read_text() == edited
    assert "my notes" not in ours.read_text()


@pytest.mark.parametrize("command", ["curves", "bench models"])
def test_an_output_inside_of_a_run_replaces_nothing(place, tmp_path, command):
    """The folder of a run is not ours for another command: its results.json is not that of a benchmark."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"format_version": 2, "stages": {}}))
    for name in ("results.json", "curves.json"):
        (run / name).write_text("the run's")
    before = contents(run)
    done = run_in_process(*command.split(), *WRITING[command](run), folder=place, environment={})
    assert done.returncode == 2 and contents(run) == before


def test_an_output_of_ours_is_written_again_and_edits_are_kept(place, tmp_path):
    folder = tmp_path / "curves"
    arguments = ["curves", *WRITING["curves"](folder)]
    for _ in range(2):
        assert run_in_process(*arguments, folder=place, environment={}).returncode == 0
    assert sorted(contents(folder)) == [".pocketbert.json", "curves.json", "curves.svg"]
    (folder / "curves.json").write_text("edited")
    done = run_in_process(*arguments, folder=place, environment={})
    assert done.returncode == 0 and f"moved to {folder}/set-aside-1/curves.json" in done.stderr
    assert (folder / "set-aside-1" / "curves.json").read_text() == "edited"
    assert json.loads((folder / "curves.json").read_text())["stage"] == "teacher"


def test_a_report_in_a_run_folder_of_an_older_version_is_moved_aside(tmp_path):
    write_results(RESULTS, tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format_version": 2, "stages": {}}))
    (tmp_path / "report.html").write_text("edited long ago")
    for _ in range(2):
        done = run_in_process("report", tmp_path, folder=tmp_path, environment={})
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "set-aside-1" / "report.html").read_text() == "edited long ago"
    assert not (tmp_path / "set-aside-2").exists()
