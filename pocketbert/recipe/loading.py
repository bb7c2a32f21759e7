"""From a YAML file to a `Recipe`. All mistakes are reported at once, each with its key, its line and a suggestion."""

import importlib.resources
import io
import os
import re
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from compress.common import distributed
from compress.common.console import new_console, notice
from compress.common.errors import Problem, UserError, raise_any
from compress.common.wording import short_name, shorten
from compress.reading.regular_files import problem_of, read_bytes
from compress.reading.yaml_text import MOST_BYTES, MOST_LEVELS, parse_yaml
from export.quantisation.variants import VARIANTS
from pocketbert.recipe.delivery import ExportSection
from pocketbert.recipe.renamed_keys import OLD_NAMES_WORK_IN, KeyPath, new_path, old_names_in, rename_keys
from pocketbert.recipe.schema import key_paths, section_at
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.smoke import smoke_recipe
from pocketbert.recipe.training import AUTO

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text; put it in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
    "string_too_long": "at most {max_length} characters",
    "literal_error": "{expected}",
}
MOST_MISTAKES, MOST_LETTERS = 20, 500  # in an error, and in one of its mistakes
SIMILAR, NEARLY_EQUAL = 0.65, 0.85  # in spelling: keys of the same section, and of another


@dataclass(kw_only=True)
class _Source:
    """A recipe as written: plain values, and the position of each key ("line 7", or the --set that gave it)."""

    name: str
    content: Any
    positions: dict[KeyPath, str] = field(default_factory=dict)
    mistakes: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add_mistake(self, path: KeyPath, mistake: str) -> None:
        """Add a mistake at the position of the key, or of the nearest section above it."""
        where = f"{self._prefix(path)}: {_dotted(path) or 'recipe'}"
        self.mistakes.append((self._line_of(path), f"{where}: {shorten(mistake, MOST_LETTERS)}"))

    def raise_mistakes(self) -> None:
        """Raise UserError with the mistakes in the order of their lines, if there are any."""
        ordered = [Problem(text=mistake) for _, mistake in sorted(self.mistakes, key=itemgetter(0))]
        if len(ordered) > MOST_MISTAKES:
            more = f"{self.name}: and {len(ordered) - MOST_MISTAKES:,} more mistakes"
            ordered[MOST_MISTAKES:] = [Problem(text=more)]
        raise_any(ordered)

    def use_new_names(self) -> None:
        """Replace old names of keys, with a warning for each. An old name next to its new one is a mistake."""
        names = rename_keys(self.content)
        for path in sorted(names.renamed, key=self._line_of):
            new = _dotted(new_path(path))
            self.warnings.append(
                f"{self._prefix(path)}: {_dotted(path)} is now {new}; the old name works in {OLD_NAMES_WORK_IN} only"
            )
        for path in names.conflicts:
            new, position = _dotted(new_path(path)), self._position_of(new_path(path))
            too = f"also given in {position}" if position else "also given"
            self.add_mistake(path, f"is the old name of {new}, which is {too}; remove the old one")
        self.content = names.content
        renamed = {new_path(path): position for path, position in self.positions.items() if new_path(path) != path}
        kept = {path: position for path, position in self.positions.items() if new_path(path) == path}
        self.positions = {**renamed, **kept}

    def _position_of(self, path: KeyPath) -> str:
        known = (path[:end] for end in range(len(path), 0, -1) if path[:end] in self.positions)
        return self.positions.get(next(known, ()), "")

    def _line_of(self, path: KeyPath) -> int:
        position = self._position_of(path)
        return int(position.removeprefix("line ")) if position.startswith("line ") else 0

    def _prefix(self, path: KeyPath) -> str:
        position = self._position_of(path)
        return f"{self.name}, {position}" if position else self.name


def built_in() -> dict[str, Path]:
    """The recipes that ship with PocketBERT, by name."""
    folder = Path(str(importlib.resources.files("pocketbert.recipe") / "builtin"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary_of(path: Path) -> str:
    """The summary of a recipe file: its first comment."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def print_warning(message: str) -> None:
    """Print a warning on stderr. Of several processes, only the main one prints."""
    new_console(stderr=True, quiet=not distributed.is_main()).print(
        notice("warning:", "yellow", message), soft_wrap=True
    )


def load_recipe(
    name: str,
    *,
    changes: Sequence[str] = (),
    smoke: bool = False,
    on_warning: Callable[[str], None] = print_warning,
) -> Recipe:
    """Read a recipe file, or the built-in recipe of that name.

    `changes`: overrides such as "distill.prediction.epochs=1", with values as in YAML. `smoke`: shrink the recipe, as
    does `smoke: true` in the file. `on_warning` gets a line for each key with an old name. Raises UserError with all
    mistakes, one per line.
    """
    path = Path(name)
    problem = problem_of(path)
    if problem is not None:
        known = built_in()
        if name not in known:
            near = get_close_matches(path.stem, known)
            hint = f"did you mean {near[0]}?" if near else f"built-in ones: {', '.join(known)}"
            if problem.startswith("got "):
                raise UserError(f"{name}: {problem}")
            raise UserError(f"{shorten(name)}: got neither a recipe file nor the name of a built-in recipe; {hint}")
        path = known[name]
    source = _read(path)
    for change in changes:
        _apply_override(source, change)
    for warning in source.warnings:
        on_warning(warning)
    try:
        recipe = Recipe.model_validate(source.content)
    except ValidationError as error:
        entries = error.errors()
        for entry in entries[:MOST_MISTAKES]:
            source.add_mistake(*_explain(entry))
        for entry in entries[MOST_MISTAKES:]:  # explained too, each would take a millisecond
            source.add_mistake(tuple(entry["loc"]), entry["msg"])
    _check_cross_section(source)
    source.raise_mistakes()
    return smoke_recipe(recipe) if smoke or recipe.smoke else recipe


def require_shape(recipe: Recipe) -> Recipe:
    """The recipe itself. Raises UserError if the shape of its student is still to be chosen."""
    if recipe.student.needs_design:
        raise UserError("student.budget: expected a shape; choose it with `pocketbert design`")
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file, with all defaults."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    buffer = io.StringIO()
    content = recipe.model_dump(exclude_none=True)
    if recipe.teacher.model is not None:
        content["teacher"].pop("fine_tune")  # nothing is fine-tuned
    yaml.dump(content, buffer)
    return buffer.getvalue()


def _read(path: Path) -> _Source:
    content = read_bytes(path, most_bytes=MOST_BYTES, remedy="is it a recipe?")
    root, values = parse_yaml(content, where=str(path))
    source = _Source(name=str(path), content=values)
    if root is None or not isinstance(values, dict):
        got = "nothing" if values is None else f"a {type(values).__name__}"
        raise UserError(f"{path}: got {got}, expected keys and values; `pocketbert new` writes a recipe to start from")
    _locate(root, (), source, set())
    source.use_new_names()
    return source


def _locate(node: Node, path: KeyPath, source: _Source, seen: set[int]) -> None:
    """Add the position of every key below the node, and a mistake for each duplicate key."""
    if id(node) in seen:  # an alias: its keys have the positions of the anchor
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner, line = (*path, str(key.value)), f"line {key.start_mark.line + 1}"
            if inner in source.positions:
                source.add_mistake(inner, f"duplicate key, also in {line}; remove one of them")
            source.positions[inner] = line
            _locate(value, inner, source, seen)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            source.positions[*path, index] = f"line {value.start_mark.line + 1}"
            _locate(value, (*path, index), source, seen)


def _apply_override(source: _Source, change: str) -> None:
    """Apply one --set."""
    dotted, equals, text = change.partition("=")
    path: KeyPath = tuple(dotted.strip().split("."))
    position = f"--set {shorten(change)}"
    if not equals or not all(path):
        raise UserError(f"{position}: expected KEY=VALUE, such as distill.prediction.epochs=1")
    if len(path) > MOST_LEVELS:
        raise UserError(f"{position}: got a key of {len(path):,} parts, expected at most {MOST_LEVELS}")
    _, value = parse_yaml(os.fsencode(text), where=position, advice="put text in quotes")
    for key in reversed(path):
        value = {key: value}
    override = _Source(name=source.name, content=value, positions={path[:1]: position})
    override.use_new_names()
    source.warnings += override.warnings
    source.mistakes += override.mistakes
    path, section, value = new_path(path), source.content, override.content
    for key in path[:-1]:
        value = value[key]
        if section.get(key) in (None, AUTO):
            section[key] = {}
        if not isinstance(section[key], dict):
            raise UserError(f"{position}: {key} has no keys: it is {_brief(section[key])}")
        section[key] = dict(section[key])  # an alias may repeat it elsewhere
        section = section[key]
    section[path[-1]] = value[path[-1]]
    source.positions = {known: line for known, line in source.positions.items() if known[: len(path)] != path}
    source.positions[path] = position


def _check_cross_section(source: _Source) -> None:
    """Add a mistake for each contradiction between two sections, even if there are other mistakes."""

    def value(section: str, key: str, default: Any) -> Any:
        keys = source.content.get(section)
        return keys.get(key, default) if isinstance(keys, dict) else default

    built = value("export", "variants", ExportSection().variants)
    for path in (("gate", "require"), ("export", "tolerance")):
        names = value(*path, [])
        for name in names if isinstance(names, list | dict) and isinstance(built, list) else ():
            if name in VARIANTS and name not in built:
                mistake = f"got {name}, which is not in export.variants; add it there, or leave it out here"
                source.add_mistake(path, mistake)
    prediction = value("distill", "prediction", {})
    simulated = prediction.get("quantisation") if isinstance(prediction, dict) else None
    if isinstance(simulated, str) and simulated in VARIANTS and isinstance(built, list) and simulated not in built:
        mistake = f"got {simulated}, which is not in export.variants; add it there, or leave it out here"
        source.add_mistake(("distill", "prediction", "quantisation"), mistake)
    limit, lengths = value("task", "max_length", 128), value("bench", "fixed_lengths", [])
    for length in lengths if isinstance(lengths, list) and isinstance(limit, int) else ():
        if isinstance(length, int) and length > limit:
            source.add_mistake(("bench", "fixed_lengths"), f"got {length}; expected at most task.max_length, {limit}")


def _explain(entry: Any) -> tuple[KeyPath, str]:
    """An error entry of pydantic as the path of the key and a message."""
    path: KeyPath = tuple(key for key in entry["loc"] if key != "[key]")
    written, message = entry["input"], entry["msg"]
    got = f"got {_brief(written)}"
    match entry["type"]:
        case "missing":
            field = section_at(path[:-1]).model_fields[path[-1]]
            return path, f"missing; expected: {field.description}"
        case "extra_forbidden":
            return path, f"unknown key; {_suggestion(path)}"
        case "value_error":
            return path, message.removeprefix("Value error, ")
        case "string_pattern_mismatch":
            return path, f"{got}; expected letters, digits, dots, dashes and underscores"
        case error_type if error_type in EXPECTED:
            expected = EXPECTED[error_type].format(**entry.get("ctx", {}))
            near = get_close_matches(str(written), re.findall(r"'([^']+)'", expected), n=1)
            return path, f"{got}; expected {expected}" + (f"; did you mean {near[0]}?" if near else "")
    return path, f"{got}; {message[0].lower()}{message[1:]}"


def _suggestion(path: KeyPath) -> str:
    """A known key that resembles an unknown one: in the same section, or in another if it is nearly equal."""
    key, section = str(path[-1]), section_at(path[:-1])
    siblings = list(section.model_fields) if section is not None else []
    old_names = old_names_in(path[:-1])
    if near := get_close_matches(key, [*siblings, *old_names], n=1, cutoff=SIMILAR):
        return f"did you mean {old_names.get(near[0], near[0])}?"
    if elsewhere := [_dotted(known) for known in key_paths() if known[-1] == key]:
        return f"it belongs elsewhere: {', '.join(elsewhere)}"
    if near := get_close_matches(key, {known[-1]: None for known in key_paths()}, n=1, cutoff=NEARLY_EQUAL):
        return f"did you mean {', '.join(_dotted(known) for known in key_paths() if known[-1] == near[0])}?"
    return f"expected one of {', '.join(siblings)}"


def _brief(value: object) -> str:
    """A value as written, shortened if it is long or deep."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 2, 60, 60
    return brief.repr(value)


def _dotted(path: KeyPath) -> str:
    return ".".join(short_name(str(key)) for key in path)
