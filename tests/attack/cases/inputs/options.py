"""Hostile values of the options of every command, texts and lines of `predict` among them."""

from collections.abc import Sequence
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Scratch

TYPE = "options and lines"
HOSTILE = ("", "-1", "0", "99999999999999999999", "nan", "1e999", "x", "\x1b[31m", "a\nb", "[/bold]", "/dev/zero", "..")
NUMBERS = ("100000", "4096", "-1", "0", "9" * 5000, "1.5", "nan", "")
OPTIONS: dict[
    str, Sequence[str]
] = {  # by command, the options that take a value; {} stands for the bundle, table, model
    "predict {bundle} text": ("--encoding",),
    "export {model} --data {table} --variant fp32": (
        "--text",
        "--label",
        "--labels",
        "--encoding",
        "--metric",
        "--positive",
        "--max-length",
        "--student-share",
        "--variant",
        "--calibration",
    ),
    "new {table}": ("--text", "--label", "--teacher", "--encoding"),
    "bench models {bundle} --effort quick --rounds 2 --data {table}": (
        "--text",
        "--label",
        "--metric",
        "--device",
        "--effort",
        "--grid",
    ),
    "curves {run} {run}": ("--stage",),
    "run {recipe}": ("--until", "--set"),
    "check {recipe}": ("--set",),
}
THREADS = ("predict {bundle} text --threads", "bench models {bundle} --effort quick --rounds 2 --threads")
LINES: dict[str, bytes] = {
    "empty": b"",
    "empty lines": b"\n\n\n",
    "no line end": b"a film",
    "Windows line ends": b"a film\r\nthe plot\r\n",
    "NULs": b"a\0film\n",
    "UTF-16": "a film\n".encode("utf-16"),
    "not UTF-8": b"a film\n\xff\xfe\n",
    "half a surrogate pair": b"\xed\xa0\x80\n",
    "escape codes": b"\x1b[31ma film\x1b]0;x\x07\n",
    "10 MB in a line": b"a film " * 1_500_000 + b"\n",
    "a word of 10 MB": b"x" * 10_000_000 + b"\n",
    "50 MB in a line": b"a film " * 7_500_000 + b"\n",
    "a word of 10 MB of one accent": "e\u0301".encode() + "\u0301".encode() * 5_000_000 + b"\n",
    "a NUL of 10 MB": bytes(10_000_000),
    "a tab": b"a\tb\n",
    "all bytes": bytes(range(256)),
}


def attacks(seed: int) -> list[Attack]:
    """One attack per command and option, with every hostile value; one per input of predict.py."""
    return [
        *[_options(line, option) for line, options in OPTIONS.items() for option in options],
        *[_threads(line, value) for line in THREADS for value in NUMBERS],
        *[_lines(name, text) for name, text in LINES.items()],
    ]


def _words(line: str, scratch: Scratch) -> list[str]:
    material = scratch.material
    places: dict[str, Path] = {
        "bundle": material.bundle("fp32"),
        "table": material.reviews,
        "model": material.models / "teacher",
        "run": material.run,
        "recipe": material.recipe,
    }
    return [word.format(**places) for word in line.split()]


def _options(line: str, option: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        commands = [Command(words=[*_words(line, scratch), f"{option}={value}"]) for value in HOSTILE]
        return Case(commands=commands, owned=["cache", "bundles", "runs"])

    return Attack(name=f"option/{line.split(' {')[0]}/{option}", type=TYPE, prepare=prepare, seconds=8)


def _threads(line: str, value: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        commands = [Command(words=[*_words(line, scratch)[:-1], f"--threads={value}"])]
        if line.startswith("predict"):
            script = scratch.material.bundle("fp32") / "predict.py"
            commands.append(Command(script=script, words=["a film", f"--threads={value}"]))
        return Case(commands=commands)

    return Attack(name=f"threads/{line.split(' {')[0]}/{value[:20]}", type=TYPE, prepare=prepare, seconds=2)


def _lines(name: str, text: bytes) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.material.bundle("fp32")
        commands = [Command(words=["predict", bundle], stdin=text), Command(script=bundle / "predict.py", stdin=text)]
        return Case(commands=commands)

    return Attack(name=f"lines/{name}", type=TYPE, prepare=prepare, seconds=1)
