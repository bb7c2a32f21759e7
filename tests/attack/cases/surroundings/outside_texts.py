"""Labels, texts, columns, names and keys with markup, quotes, dollar signs, newlines and escape codes."""

import csv
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Finished, Scratch
from tests.attack.build import write_recipe

TYPE = "texts from outside"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TITLE = "HARMED"
ACT = "document.title='HAR'+'MED'"
PAYLOADS = {
    "script": f"<script>{ACT}</script>",
    "image": f'"><img src=x onerror="{ACT}">',
    "drawing": f"'><svg onload={ACT}>",
    "attribute": f"x' onmouseover='{ACT}' autofocus onfocus='{ACT}",
    "closing": f"</title></style></script></svg><script>{ACT}</script>",
    "link": f"[x](javascript:{ACT})",
    "template": "{{ ''.__class__ }}{% for x in range(9) %}",
    "entity": f"&lt;script&gt;{ACT}&lt;/script&gt;",
    "formula": "$x_{1}^{2}$ \\frac{1}{2} $",
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "controls": "a\rb\x08\x7f\x9b31m",
    "newline": "a\n# heading\n| x | y |",
    "table": "a | b | c",
    "markup": "[bold]x[/bold] [/nothing]",
    "code": "`x` *y* _z_ <b>w</b>",
    "reversed": "\u202eabc\u2066",
    "quotes": "'\"`",
}
PLACES = ("labels", "columns", "name", "results.json keys", "results.json values", "bundle.json", "table name")


def attacks(seed: int) -> list[Attack]:
    """Every payload in every place, and one run in which all are everywhere."""
    return [
        *[_attack(place, name) for place in PLACES for name in PAYLOADS],
        Attack(name="outside-text/everywhere", type=TYPE, prepare=_everywhere, seconds=45),
        Attack(name="outside-text/new and check", type=TYPE, prepare=_new_and_check, seconds=10),
    ]


def _attack(place: str, payload: str) -> Attack:
    prepare = partial(PREPARE[place], PAYLOADS[payload])
    return Attack(name=f"outside-text/{place}/{payload}", type=TYPE, prepare=prepare, seconds=3)


def _table(path: Path, *, columns: Sequence[str], labels: Sequence[str]) -> Path:
    from tiny_bert import rows

    lines = [(text, labels[label == "positive"]) for text, label in rows(200)]
    if path.suffix == ".jsonl":  # may hold escape codes, with which a CSV file is refused
        content = "".join(json.dumps(dict(zip(columns, line, strict=True))) + "\n" for line in lines)
        path.write_text(content, encoding="utf-8")
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *lines])
    return path


def _labels(payload: str, scratch: Scratch) -> Case:
    table = _table(scratch.root / "t.jsonl", columns=("text", "label"), labels=(f"{payload}1", f"{payload}2"))
    return _new_case(scratch, table)


def _columns(payload: str, scratch: Scratch) -> Case:
    table = _table(scratch.root / "t.jsonl", columns=(f"text {payload}", f"label {payload}"), labels=("a", "b"))
    return _new_case(scratch, table)


def _table_name(payload: str, scratch: Scratch) -> Case:
    name = payload.replace("/", "-")[:100]
    return _new_case(scratch, _table(scratch.root / f"{name}.csv", columns=("text", "label"), labels=("a", "b")))


def _new_case(scratch: Scratch, table: Path) -> Case:
    """`new`, then a check of its recipe, which must be read as it was meant."""
    commands = [
        Command(words=["new", table.name, "--output", "r.yaml"]),
        Command(words=["run", "r.yaml", "--until", "baseline", "--output", "run"]),
    ]

    def check(ended: Sequence[Finished]) -> list[str]:
        recipe = scratch.root / "r.yaml"
        if ended[0].code != 0:
            return []
        keys = re.findall(r"^(\w+):", recipe.read_text(encoding="utf-8"), re.MULTILINE)
        known = {"name", "task", "teacher", "student", "distill", "export", "gate", "bench", "augment", "seed"}
        return [f"the new recipe has the key {key!a}" for key in keys if key not in known]

    return Case(commands=commands, owned=["cache", "run"], check=check)


def _name(payload: str, scratch: Scratch) -> Case:
    recipe = write_recipe(scratch.material, scratch.root / "r.yaml", name=payload)
    return Case(commands=[Command(words=["run", recipe, "--until", "baseline", "--output", "run"])])


def _keys_of_results(payload: str, scratch: Scratch) -> Case:
    return _results_case(scratch, lambda content, generator: _rename_some(content, payload, generator))


def _values_of_results(payload: str, scratch: Scratch) -> Case:
    return _results_case(scratch, lambda content, _: _replace_texts(content, payload))


def _rename_some(content: object, payload: str, generator: random.Random) -> object:
    """Rename the keys of objects that are not records, here and there."""
    if isinstance(content, dict):
        is_open = any(" " in key or "-" in key for key in content)
        return {
            f"{key} {payload}" if is_open or generator.random() < 0.02 else key: _rename_some(value, payload, generator)
            for key, value in content.items()
        }
    if isinstance(content, list):
        return [_rename_some(value, payload, generator) for value in content]
    return content


def _replace_texts(content: object, payload: str) -> object:
    """Append the payload to each text that has a blank, so that no choice of a closed list is meant."""
    if isinstance(content, dict):
        return {key: _replace_texts(value, payload) for key, value in content.items()}
    if isinstance(content, list):
        return [_replace_texts(value, payload) for value in content]
    return f"{content} {payload}" if isinstance(content, str) and " " in content else content


def _results_case(scratch: Scratch, change: Callable[[object, random.Random], object]) -> Case:
    scratch.copy_run()
    path = scratch.root / "run" / "results.json"
    content = change(json.loads(path.read_text(encoding="utf-8")), scratch.random)
    path.write_text(json.dumps(content), encoding="utf-8")
    commands = [Command(words=["report", "run"]), Command(words=["compare", "run", scratch.material.run])]
    return _page_case(scratch, commands, owned=["cache", "run"])


def _bundle_json(payload: str, scratch: Scratch) -> Case:
    bundle = scratch.copy(scratch.material.bundle("fp32"), "bundle")
    path = bundle / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.update(name=payload, origin={payload: payload}, versions={payload: payload}, measured={payload: 1.0})
    path.write_text(json.dumps(content), encoding="utf-8")
    commands = [Command(words=[command, "bundle"]) for command in ("explain", "verify")]
    return Case(commands=[*commands, Command(words=["predict", "bundle", "a film"])])


def _everywhere(scratch: Scratch) -> Case:
    """A run with payloads as labels, columns, texts and the name, from the table to the page in the browser."""
    labels = ["".join(PAYLOADS.values()), PAYLOADS["script"] + "2"]
    table = _table(scratch.root / 'a"<b>$.jsonl', columns=('t"<i>$', "\x1b[31m<u>"), labels=labels)
    sections = {"text": ['t"<i>$'], "label": "\x1b[31m<u>", "data": str(table), "max_length": 32}
    recipe = write_recipe(scratch.material, scratch.root / "r.yaml", task=sections)
    commands = [Command(words=["run", recipe, "--smoke", "--output", "run"], limit_s=300)]
    return _page_case(scratch, commands, owned=["cache"], must_write=True)


def _new_and_check(scratch: Scratch) -> Case:
    labels = ["".join(PAYLOADS.values()), PAYLOADS["script"] + "2"]
    table = _table(scratch.root / "t.jsonl", columns=("text", "label"), labels=labels)
    return Case(commands=[Command(words=["new", table, "--output", "r.yaml"]), Command(words=["check", "r.yaml"])])


def _page_case(
    scratch: Scratch, commands: Sequence[Command], *, owned: Sequence[str], must_write: bool = False
) -> Case:
    """The commands, then the page in a browser, if there is one."""
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    page = scratch.root / "run" / "report.html"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={scratch.logs}", "--dump-dom"]
    opened = [Command(program=browser, words=[*flags, page.as_uri()], codes=frozenset({0}))] if browser else []

    def check(ended: Sequence[Finished]) -> list[str]:
        if ended[0].code != 0 and must_write:
            return [f"no run: {ended[0].stderr[-200:]!a}"]
        if not page.is_file():
            return []
        bugs = _active_parts(page.read_text(encoding="utf-8"))
        if browser and f"<title>{TITLE}".encode() in ended[-1].stdout:
            bugs.append("a script of the results ran in the browser")
        card = page.with_suffix(".md").read_text(encoding="utf-8")
        prose = re.sub(r"^ *(```+).*?^ *\1$|`[^`\n]*`", "", card, flags=re.MULTILINE | re.DOTALL)
        if re.search(r"(?<!\\)<(script|img|svg)[ >]", prose):
            bugs.append("report.md has raw HTML of the results")
        if "\x1b" in card:
            bugs.append("report.md has a raw escape sequence")
        return bugs

    return Case(commands=[*commands, *opened], owned=owned, check=check)


class _Parts(HTMLParser):
    """Collects scripts, and attributes with a payload that a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.bugs: list[str] = []
        self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_script = tag == "script"
        for name, value in attrs:
            if name.startswith("on") or (name in ("href", "src") and (value or "").startswith("javascript:")):
                self.bugs.append(f"report.html has <{tag} {name}={value!a}>")

    def handle_data(self, data: str) -> None:
        if self._is_script and "'HAR'" in data:
            self.bugs.append("report.html has a script of the results")

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False


def _active_parts(html: str) -> list[str]:
    parts = _Parts()
    parts.feed(html)
    return parts.bugs


PREPARE: dict[str, Callable[[str, Scratch], Case]] = {
    "labels": _labels,
    "columns": _columns,
    "name": _name,
    "table name": _table_name,
    "results.json keys": _keys_of_results,
    "results.json values": _values_of_results,
    "bundle.json": _bundle_json,
}
