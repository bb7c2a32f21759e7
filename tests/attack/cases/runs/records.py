"""The JSON files of a run are damaged: results, manifest, export record, recipe and samples."""

import json
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.attack.attack import ODD_VALUES, Attack, Case, Command, Scratch
from tests.attack.material import truncate

TYPE = "results and manifests"
MUTATIONS = {"results.json": 60, "manifest.json": 20}
VALUES: tuple[Any, ...] = (
    *ODD_VALUES,
    "<script>document.title='HAR'+'M'</script>",
    "$x_{1}^{2}$ \\frac{1}",
    "a\nb",
    [],
    [[]],
    {},
    {"a": {"b": []}},
    "x" * 10**6,
)
PARTS = ("teacher", "prediction", "export", "bench")


def attacks(seed: int) -> list[Attack]:
    """Whole files damaged in each way, and single values replaced by others, at random."""
    return [
        *[_attack(name, f"file/{way}", damage) for name in FILES for way, damage in DAMAGES.items()],
        *[
            _attack(name, f"value/{number}", partial(_replace_value, seed=f"{seed} {number}"))
            for name, count in MUTATIONS.items()
            for number in range(count)
        ],
    ]


def _attack(name: str, way: str, damage: Callable[[Path], object]) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        scratch.copy_run("run")
        scratch.copy_run("other")
        scratch.copy(scratch.material.bundle("fp32").parent / "export.json", "bundles/export.json")
        path = scratch.root / FILES[name][0]
        damage(path)
        owned = ["cache", "run", "other"] if name == "manifest.json" else ["cache", "run"]
        return Case(commands=FILES[name][1](scratch), owned=owned)

    return Attack(name=f"records/{name}/{way}", type=TYPE, prepare=prepare, seconds=3)


def _of_results(_: Scratch) -> list[Command]:
    return [
        Command(words=["report", "run"]),
        Command(words=["compare", "run", "other"]),
        Command(words=["compare", "other", "run", "--json"]),
        Command(words=["explain", "run"]),
    ]


def _of_manifest(scratch: Scratch) -> list[Command]:
    recipe = scratch.material.recipe
    return [
        Command(words=["curves", "run", "other", "--stage", "teacher"]),
        Command(words=["run", recipe, "--output", "run", "--until", "baseline"]),
    ]


FILES: dict[str, tuple[str, Callable[[Scratch], list[Command]]]] = {
    "results.json": ("run/results.json", _of_results),
    "manifest.json": ("run/manifest.json", _of_manifest),
    "export.json": ("bundles/export.json", lambda _: [Command(words=["explain", "bundles"])]),
}
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: truncate(path, 0.5),
    "list": lambda path: path.write_text("[]"),
    "null": lambda path: path.write_text("null"),
    "object": lambda path: path.write_text("{}"),
    "deep": lambda path: path.write_text('{"a":' * 100_000),
    "deep value": lambda path: _add(path, '"extra": ' + "[" * 100_000 + "]" * 100_000),
    "many digits": lambda path: _add(path, '"extra": ' + "9" * 5000),
    "infinite": lambda path: _add(path, '"format_version": 1e400'),
    "later version": lambda path: _add(path, '"format_version": 99'),
    "version as text": lambda path: _add(path, '"format_version": "\\u001b[31m"'),
    "version a list": lambda path: _add(path, '"format_version": [[]]'),
    "stages a list": lambda path: _add(path, '"stages": []'),
    "stages null": lambda path: _add(path, '"stages": null'),
    "a stage of no name": lambda path: _add(path, '"stages": {"": {}}'),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "Latin-1": lambda path: path.write_bytes(b'{"name": "\xe9"}'),
    "UTF-16": lambda path: path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16")),
    "web page": lambda path: path.write_text("<!DOCTYPE html>"),
    "LFS pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link to zeros": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
    "8 GB": lambda path: os.truncate(path, 8 * 10**9),
}


def _add(path: Path, text: str) -> None:
    """Add a key at the end of the object. It wins over an equal key before it."""
    content = path.read_text(encoding="utf-8").rstrip()
    path.write_text(f"{content[:-1]}, {text}}}", encoding="utf-8")


def _replace_value(path: Path, *, seed: str) -> None:
    """Replace one value, at any depth, by a hostile one."""
    generator = random.Random(seed)
    content = json.loads(path.read_text(encoding="utf-8"))
    holders = list(_holders(content))
    holder = generator.choice(holders)
    key = generator.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key] = generator.choice(VALUES)
    path.write_text(json.dumps(content), encoding="utf-8")


def _holders(content: Any) -> list[Any]:
    """All objects and lists with at least one element."""
    inner = list(content.values()) if isinstance(content, dict) else content if isinstance(content, list) else []
    own = [content] if inner else []
    return [*own, *[holder for value in inner for holder in _holders(value)]]
