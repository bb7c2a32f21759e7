"""Hostile recipes: bombs, deep nesting, odd encodings, code tags, and a wrong value for every key."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack.attack import ODD_VALUES, Attack, Case, Command, Scratch
from tests.attack.build import write_recipe

TYPE = "recipes"
NUM_VALUES = 60
SOUND = "name: x\ntask: {data: DATA}\nteacher: {model: MODEL}\nstudent: {preset: tinybert4}\n"
VALUES: tuple[Any, ...] = (
    *ODD_VALUES,
    "../../../x",
    "a\nb",
    [],
    [[]],
    [None],
    {},
    {"a": {"b": []}},
    "x" * 10**5,
)


def attacks(seed: int) -> list[Attack]:
    """Whole texts, single values, names and --set options."""
    return [
        *[_text(name, text) for name, text in TEXTS.items()],
        *[_file(name, make) for name, make in FILES.items()],
        *[_value(number, f"{seed} {number}") for number in range(NUM_VALUES)],
        *[_name(number, name) for number, name in enumerate(NAMES)],
        *[_option(number, option) for number, option in enumerate(OPTIONS)],
    ]


def _text(name: str, text: Callable[[str], str | bytes] | str) -> Attack:
    def make(path: Path, sound: str) -> None:
        content = text if isinstance(text, str) else text(sound)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", errors="surrogatepass"))

    return _file(f"text/{name}", make, must_refuse=name not in READ)


def _file(name: str, make: Callable[[Path, str], object], *, must_refuse: bool = True) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        material = scratch.material
        sound = SOUND.replace("DATA", str(material.reviews)).replace("MODEL", str(material.models / "teacher"))
        make(scratch.root / "r.yaml", sound)
        commands = [Command(words=["check", "r.yaml"]), Command(words=["run", "r.yaml", "--until", "baseline"])]
        return Case(commands=commands if must_refuse else commands[:1], must_refuse=must_refuse)

    return Attack(name=f"recipe/{name}", type=TYPE, prepare=prepare, seconds=1)


def _value(number: int, seed: str) -> Attack:
    """One value of a sound recipe, at any depth, is replaced by a hostile one."""

    def prepare(scratch: Scratch) -> Case:
        from pocketbert.recipe.loading import load_recipe

        recipe = write_recipe(scratch.material, scratch.root / "r.yaml")
        content = load_recipe(str(recipe)).model_dump(exclude_none=True)
        content["teacher"].pop("fine_tune", None)
        generator = random.Random(seed)
        section = content[generator.choice([name for name in content if isinstance(content[name], dict)])]
        while isinstance(inner := generator.choice(list(section.values())), dict) and inner:
            section = inner
        section[generator.choice(list(section))] = generator.choice(VALUES)
        _dump(content, recipe)
        return Case(commands=[Command(words=["check", "r.yaml"])])

    return Attack(name=f"recipe/value/{number}", type=TYPE, prepare=prepare, seconds=2)


def _dump(content: Any, path: Path) -> None:
    from ruamel.yaml import YAML

    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)


def _name(number: int, name: str) -> Attack:
    """The name of a recipe, which becomes the name of a folder."""

    def prepare(scratch: Scratch) -> Case:
        (scratch.root / "inner").mkdir()
        write_recipe(scratch.material, scratch.root / "inner" / "r.yaml", name=name)
        command = Command(words=["run", "r.yaml", "--until", "baseline"], folder="inner")

        def check(_: object) -> list[str]:
            outside = [path.name for path in scratch.root.iterdir() if path.name not in ("inner", "cache")]
            return [f"{path!a}: written outside the folder" for path in outside]

        return Case(commands=[command], check=check)

    return Attack(name=f"recipe/name/{number}", type=TYPE, prepare=prepare, seconds=3)


def _option(number: int, option: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        write_recipe(scratch.material, scratch.root / "r.yaml")
        return Case(commands=[Command(words=["check", "r.yaml", "--set", option])], must_refuse=True)

    return Attack(name=f"recipe/set/{number}", type=TYPE, prepare=prepare, seconds=1)


def _bomb(depth: int, width: int) -> str:
    """Each anchor repeats the one before: width ** depth values in a few bytes."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, depth)]
    return "\n".join(lines) + "\n"


def _object_bomb(depth: int, width: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, depth):
        lines.append(f"a{level}: &a{level} {{{', '.join(f'k{n}: *a{level - 1}' for n in range(width))}}}")
    return "\n".join(lines) + "\n"


READ = ("byte-order mark", "Windows line ends", "comments of 1 MB", "anchors", "end marks")
TEXTS: dict[str, Callable[[str], str | bytes] | str] = {
    "empty": "",
    "blanks": "\n\n   \n",
    "a comment": "# nothing",
    "a list": "- a\n- b\n",
    "a number": "5",
    "null": "null",
    "list bomb": lambda sound: sound + _bomb(9, 10),
    "deep list bomb": lambda sound: sound + _bomb(60, 2),
    "object bomb": lambda sound: sound + _object_bomb(9, 10),
    "bomb as the data": lambda sound: _bomb(9, 10) + sound.replace("task: {", "task: {subset: *a8, "),
    "merge bomb": lambda sound: (
        sound + "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{', '.join(['*a'] * 2000)}]}}\n" for n in range(20))
    ),
    "a list in itself": lambda sound: sound + "a: &a [*a]\n",
    "an object in itself": lambda sound: sound + "a: &a {b: *a}\n",
    "a section in itself": lambda sound: sound.replace("task: {", "task: &t {splits: *t, "),
    "20,000 keys": lambda sound: sound + "".join(f"k{n}: 1\n" for n in range(20_000)),
    "200,000 keys": lambda sound: sound + "".join(f"k{n}: 1\n" for n in range(200_000)),
    "20,000 keys in a section": lambda sound: sound + "gate:\n" + "".join(f"  k{n}: 1\n" for n in range(20_000)),
    "20,000 equal keys": lambda sound: sound + "seed: 1\n" * 20_000,
    "a list of 200,000": lambda sound: sound + f"gate: {{require: [{', '.join(['fp32'] * 200_000)}]}}\n",
    "a scalar of 10 MB": lambda sound: sound + "x: " + "y" * 10_000_000 + "\n",
    "a quoted scalar of 10 MB": lambda sound: sound.replace("name: x", 'name: "' + "y" * 10_000_000 + '"'),
    "a block scalar of 10 MB": lambda sound: sound + "x: |\n" + "  y\n" * 2_500_000,
    "a key of 1 MB": lambda sound: sound + "y" * 10**6 + ": 1\n",
    "a key of 1 MB, quoted": lambda sound: sound + '"' + "y" * 10**6 + '": 1\n',
    "100 MB of comments": lambda sound: sound + "# x\n" * 25_000_000,
    "deep lists": lambda sound: sound + "x: " + "[" * 5000 + "]" * 5000 + "\n",
    "very deep lists": lambda sound: sound + "x: " + "[" * 200_000,
    "deep objects": lambda sound: sound + "x: " + "{a: " * 5000 + "1" + "}" * 5000 + "\n",
    "deep indentation": lambda sound: sound + "".join(f"{' ' * n}a{n}:\n" for n in range(3000)),
    "deep dashes": lambda sound: sound + "x:\n" + "- " * 20_000 + "a\n",
    "many digits": lambda sound: sound + "seed: " + "9" * 10_000 + "\n",
    "a huge number": lambda sound: sound + f"seed: {10**300}\n",
    "a base of 60": lambda sound: sound + "seed: 99999999:59:59\n",
    "NaN": lambda sound: sound + "distill: {prediction: {learning_rate: .nan}}\n",
    "infinite": lambda sound: sound + "distill: {prediction: {learning_rate: .inf}}\n",
    "a date": lambda sound: sound.replace("name: x", "name: 2024-01-01"),
    "an impossible date": lambda sound: sound.replace("name: x", "name: 2024-99-99"),
    "a Python object": lambda sound: sound + "x: !!python/object/apply:os.system ['touch harmed']\n",
    "a Python name": lambda sound: sound.replace("name: x", "name: !!python/name:os.system"),
    "an unknown tag": lambda sound: sound.replace("name: x", "name: !secret x"),
    "a set": lambda sound: sound + "x: !!set {a, b}\n",
    "binary": lambda sound: sound.replace("name: x", "name: !!binary aGVsbG8="),
    "bad binary": lambda sound: sound.replace("name: x", "name: !!binary '%%%'"),
    "an ordered map": lambda sound: sound.replace(
        "student: {preset: tinybert4}", "student: !!omap [preset: tinybert4]"
    ),
    "a list as a key": lambda sound: sound + "? [a, b]\n: 1\n",
    "an object as a key": lambda sound: sound + "? {a: b}\n: 1\n",
    "a number as a key": lambda sound: sound + "5: 1\n",
    "null as a key": lambda sound: sound + "null: 1\n~: 2\n",
    "a boolean as a key": lambda sound: sound + "true: 1\n",
    "an escape code in a key": lambda sound: sound + '"\\e[31mred": 1\n',
    "an escape code in a value": lambda sound: sound + 'seed: "\\e[31mred"\n',
    "markup in a key": lambda sound: sound + '"[bold]x[/bold]": 1\n"[/nothing]": 1\n',
    "markup in a value": lambda sound: sound + 'seed: "[/bold]"\n',
    "half a surrogate pair": lambda sound: sound + 'x: "\\ud800"\n',
    "a NUL in a path": lambda sound: sound.replace("task: {data: ", 'task: {subset: "a\\0b", data: '),
    "a NUL as the data": lambda sound: SOUND.replace("DATA", '"a\\0b"'),
    "a long path": lambda sound: SOUND.replace("DATA", "x/" * 5000),
    "raw NUL": lambda sound: sound.encode() + b"x: a\0b\n",
    "raw control characters": lambda sound: sound.encode() + b"x: \x01\x02\x1b\x7f\n",
    "not UTF-8": lambda sound: sound.encode() + b"x: \xff\xfe\n",
    "UTF-16": lambda sound: sound.encode("utf-16"),
    "UTF-32": lambda sound: sound.encode("utf-32"),
    "byte-order mark": lambda sound: "\ufeff" + sound,
    "Windows line ends": lambda sound: sound.replace("\n", "\r\n"),
    "comments of 1 MB": lambda sound: sound + "# x\n" * 250_000,
    "anchors": lambda sound: sound.replace("task: {", "task: &t {"),
    "end marks": lambda sound: "---\n" + sound + "...\n",
    "two documents": lambda sound: sound + "---\n" + sound,
    "a YAML version": lambda sound: "%YAML 9.9\n---\n" + sound,
    "a directive": lambda sound: "%TAG ! tag:example.org,2000:\n---\nname: !x y\n",
    "tabs": lambda sound: sound + "gate:\n\trequire: []\n",
    "an open quote": lambda sound: sound + 'x: "never closed\n' + "y: 1\n" * 100_000,
    "an open bracket": lambda sound: sound + "x: [" + "a, " * 100_000,
    "JSON": '{"name": "x", "task": 5}',
    "Markdown": "# Title\n\n- *a*: `b`\n",
    "a web page": "<!DOCTYPE html><html><body>404</body></html>",
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch harmed'\ntR.".decode("latin-1"),
    "a zip": "PK\x03\x04" + "\0" * 100,
    "an LFS pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
}
FILES: dict[str, Callable[[Path, str], object]] = {
    "pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "zeros": lambda path, _: path.symlink_to("/dev/zero"),
    "random": lambda path, _: path.symlink_to("/dev/urandom"),
    "nothing": lambda path, _: path.symlink_to("/dev/null"),
    "loop": lambda path, _: path.symlink_to(path.name),
    "8 GB": lambda path, _: (path.touch(), os.truncate(path, 8 * 10**9)),
    "memory": lambda path, _: path.symlink_to("/proc/self/mem"),
}
NAMES = (
    "../../outside",
    "/tmp/attack-outside/x",
    "..",
    ".",
    "",
    " ",
    "a/b",
    "a\nb",
    "x" * 5000,
    "\x1b[31mred",
    "<script>alert(1)</script>",
    "$x_{1}$",
    "a\0b",
    "-rf",
    "~",
    "con:nul",
    "é" * 100,
    "\ud800",
)
OPTIONS = (
    "",
    "=",
    "seed",
    ".=1",
    "a..b=1",
    "seed=[" + "[" * 5000,
    "seed=!!python/object/apply:os.system ['touch harmed']",
    "seed=&a [*a]",
    "task.data.x=1",
    "no.such.key=1",
    "seed=\x1b[31m",
    "seed=" + "9" * 5000,
    "seed=.nan",
    "x" * 10_000 + "=1",
    "[bold]=1",
    "seed: 1",
)
