"""Folders with a user's files, of every name that PocketBERT uses, go through every command that writes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Finished, Scratch

TYPE = "a user's files"
FILES = (
    "recipe.yaml",
    "results.json",
    "report.html",
    "report.md",
    "manifest.json",
    "log.txt",
    "export.json",
    "curves.json",
    "curves.svg",
    "samples.json",
    ".pid",
    ".lock",
    "new.yaml",
    "results.json.partial",
    "manifest.json.partial",
    "environment.json",
)
FOLDERS = (
    "baseline",
    "teacher",
    "search",
    "general",
    "masked_lm",
    "augment",
    "intermediate",
    "prediction",
    "export",
    "bench",
    "bundles",
    "gate",
    "tensorboard",
    "fp32",
    "int8-static",
    "stages",
    "data",
    ".partial",
    "bundles/fp32",
    "bundles/mine/.git",
    "export/fp32/onnx",
    "teacher/model",
    "prediction/model",
    ".partial/teacher/output",
    ".partial/prediction/checkpoints",
)
INNER = ("model.safetensors", "mine.txt", "manifest.json", "model.onnx", ".hidden")
WRITERS: dict[str, Callable[[Scratch], Sequence[str | Path]]] = {
    "run": lambda scratch: ["run", scratch.material.recipe, "--until", "teacher", "--output", "D"],
    "run smoke": lambda scratch: ["run", scratch.material.recipe, "--smoke", "--output", "D"],
    "check": lambda scratch: ["check", scratch.material.recipe, "--output", "D"],
    "general": lambda scratch: ["general", scratch.material.recipe, "--smoke", "--output", "D"],
    "augment": lambda scratch: ["augment", scratch.material.recipe, "--smoke", "--output", "D"],
    "export": lambda scratch: [
        "export", scratch.material.models / "teacher", "--data", scratch.material.reviews, "--variant", "fp32",
        "--output", "D",
    ],
    "report": lambda scratch: ["report", "D"],
    "explain": lambda scratch: ["explain", "D"],
    "compare": lambda scratch: ["compare", "D", scratch.material.run],
    "curves": lambda scratch: [
        "curves", scratch.material.run, scratch.material.run, "--stage", "teacher", "--output", "D",
    ],
    "new": lambda scratch: ["new", scratch.material.reviews, "--output", "D/new.yaml"],
    "new onto a folder": lambda scratch: ["new", scratch.material.reviews, "--output", "D/bundles"],
    "bench models": lambda scratch: [
        "bench", "models", scratch.material.bundle("fp32"), "--effort", "quick", "--rounds", "2", "--output", "D",
    ],
    "verify": lambda scratch: ["verify", "D"],
    "predict": lambda scratch: ["predict", "D", "a film"],
}  # fmt: skip
FULL = {"run smoke"}  # commands that write everything; the others are quick


def attacks(seed: int) -> list[Attack]:
    """All names at once through every command; each name alone through the commands that write most; edited runs."""
    names = [*FILES, *FOLDERS]
    return [
        *[_foreign(command, "all", names) for command in WRITERS],
        *[_foreign("run", name, [name]) for name in names],
        *[_foreign("export", name, [name]) for name in ("export.json", "fp32", "bundles", ".partial", "teacher")],
        *[_foreign("bench models", name, [name]) for name in ("results.json", "report.html", "samples.json", "bench")],
        *[_foreign("curves", name, [name]) for name in ("curves.json", "curves.svg")],
        *[_links(command) for command in ("run", "export", "curves", "bench models", "report")],
        *[_cache(name) for name in ("stages", "data", "stages/teacher-mine", "mine.txt")],
        *[_ours(name, change, words) for name, (change, words) in OURS.items()],
    ]


def _write(root: Path, names: Sequence[str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name in FILES or "." in Path(name).name[1:]:
            (root / name).write_text(f"the user's {name}\n", encoding="utf-8")
        else:
            for inner in INNER:
                path = root / name / inner
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    path.write_text(f"the user's {name}/{inner}\n", encoding="utf-8")


def _foreign(command: str, name: str, names: Sequence[str]) -> Attack:
    """A folder that PocketBERT did not make. Nothing in it may change; a refused command writes nothing into it."""

    def prepare(scratch: Scratch) -> Case:
        _write(scratch.root / "D", names)
        return Case(commands=[Command(words=WRITERS[command](scratch), limit_s=120)], writes_nothing=True)

    seconds = 40 if command in FULL else 4
    return Attack(name=f"user-files/{command}/{name.replace('/', '-')}", type=TYPE, prepare=prepare, seconds=seconds)


def _links(command: str) -> Attack:
    """The names are links to the user's files and folders elsewhere."""

    def prepare(scratch: Scratch) -> Case:
        _write(scratch.root / "elsewhere", [*FILES, *FOLDERS])
        (scratch.root / "D").mkdir()
        for path in (scratch.root / "elsewhere").iterdir():
            (scratch.root / "D" / path.name).symlink_to(path)
        return Case(commands=[Command(words=WRITERS[command](scratch), limit_s=120)], writes_nothing=True)

    return Attack(name=f"user-files/{command}/links", type=TYPE, prepare=prepare, seconds=4)


def _cache(name: str) -> Attack:
    """The user's files in the folder that is the cache."""

    def prepare(scratch: Scratch) -> Case:
        _write(scratch.root / "cache", [name])
        words = ["run", scratch.material.recipe, "--until", "teacher", "--output", "D"]
        commands = [Command(words=words), Command(words=["cache"]), Command(words=["cache", "prune"])]
        return Case(commands=commands, owned=[])

    return Attack(name=f"user-files/cache/{name.replace('/', '-')}", type=TYPE, prepare=prepare, seconds=6)


def _edit(name: str) -> Callable[[Path], object]:
    def edit(run: Path) -> None:
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"edited by the user: {name}\n", encoding="utf-8")

    return edit


def _add_folder(run: Path) -> None:
    _write(run / "bundles", ["mine/.git"])
    _write(run / "teacher" if not (run / "teacher").is_symlink() else run / "prediction", ["notes"])
    _write(run, ["notes"])


AGAIN, REPORT = ("run", "RECIPE", "--output", "run"), ("report", "run")
CHANGED = (*AGAIN, "--set", "distill.prediction.epochs=1", "--until", "prediction")
OURS: dict[str, tuple[Callable[[Path], object], Sequence[str]]] = {
    "an edited report": (_edit("report.md"), AGAIN),
    "an edited page": (_edit("report.html"), REPORT),
    "an edited recipe": (_edit("recipe.yaml"), AGAIN),
    "an edited card": (_edit("bundles/fp32/README.md"), AGAIN),
    "an edited model": (_edit("prediction/model/config.json"), AGAIN),
    "an edited predict.py": (_edit("bundles/fp32/predict.py"), AGAIN),
    "a file in a stage": (_edit("prediction/mine.txt"), CHANGED),
    "a file in a model": (_edit("prediction/model/mine.txt"), CHANGED),
    "a file in a bundle": (_edit("bundles/fp32/mine.txt"), AGAIN),
    "a file in the export": (_edit("export/mine.txt"), (*AGAIN, "--set", "export.variants=[fp32]")),
    "a file in an exported bundle": (_edit("export/fp32/mine.txt"), (*AGAIN, "--set", "export.variants=[fp32]")),
    "a file among the bundles": (_edit("bundles/mine.txt"), AGAIN),
    "a bundle of another name": (_edit("bundles/int4-weight/bundle.json"), AGAIN),
    "folders": (_add_folder, AGAIN),
    "folders, and another rate": (_add_folder, CHANGED),
    "a file in the workspace": (_edit(".partial/prediction/mine.txt"), CHANGED),
    "a bundle that no longer passes": (
        _edit("bundles/int8-static/mine.txt"),
        (*AGAIN, "--set", "export.variants=[fp32]"),
    ),
    "a results.json of the user": (_edit("results.json"), AGAIN),
}


def _ours(name: str, change: Callable[[Path], object], words: Sequence[str]) -> Attack:
    """A finished run of ours with the user's files. None may be lost: each stays, or is moved aside with a message."""

    def prepare(scratch: Scratch) -> Case:
        run = scratch.copy_run()
        sound = {path: path.stat().st_mtime_ns for path in _files(run)}
        change(run)
        own = {path: path.read_bytes() for path in _files(run) if sound.get(path) != path.stat().st_mtime_ns}
        assert own, "the user has no file"
        recipe = str(scratch.material.recipe)
        command = Command(words=[recipe if word == "RECIPE" else word for word in words], limit_s=300)

        def check(ended: Sequence[Finished]) -> list[str]:
            left = {path: path.read_bytes() for path in _files(scratch.root)}
            printed = ended[0].stdout + ended[0].stderr
            lost = [path for path, content in own.items() if content not in left.values()]
            moved = [path for path, content in own.items() if left.get(path) != content and path not in lost]
            silent = [path for path in moved if not any(line in printed for line in _messages(path, scratch.root))]
            return [
                *[f"{path.relative_to(scratch.root)}: lost" for path in lost],
                *[f"{path.relative_to(scratch.root)}: moved without a message" for path in silent],
            ]

        return Case(commands=[command], owned=["cache", "run"], check=check)

    return Attack(name=f"user-files/our run/{name}", type=TYPE, prepare=prepare, seconds=25)


def _messages(path: Path, root: Path) -> list[bytes]:
    """What may say that a file moved: a message about the file, or about a folder with it."""
    relative = path.relative_to(root)
    return [f"{each}: not as PocketBERT wrote it; moved to".encode() for each in (relative, *relative.parents)]


def _files(root: Path) -> list[Path]:
    paths = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    return [path for path in paths if path.is_file() and not path.is_symlink()]
