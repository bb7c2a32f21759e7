"""From a YAML file to a Recipe: all mistakes are told at once, each with its key, its line and a suggestion."""

import importlib.resources
import io
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from compress.common.errors import UserError
from export.quantisation.variants import VARIANTS
from pocketbert.recipe.sections import ExportSection, Recipe
from pocketbert.recipe.smoke import smoke_recipe
from pocketbert.recipe.training import RecipeSection

KeyPath = tuple[str | int, ...]
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
    "literal_error": "{expected}",
}


@dataclass(kw_only=True)
class _Source:
    """A recipe as written: plain values, and where each of them stands ("line 7", or the --set that gave it)."""

    name: str
    content: Any
    places: dict[KeyPath, str] = field(default_factory=dict)
    mistakes: list[tuple[int, str]] = field(default_factory=list)

    def tell(self, path: KeyPath, mistake: str) -> None:
        """Note a mistake at the key's line, or at that of the nearest key above it."""
        known = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.places), None)
        place = self.places[known] if known else ""
        line = int(place.removeprefix("line ")) if place.startswith("line ") else 0
        where = f"{self.name}, {place}" if place else self.name
        self.mistakes.append((line, f"{where}: {_dotted(path) or 'recipe'}: {mistake}"))


def built_in() -> dict[str, Path]:
    """Recipes that ship with PocketBERT, by name."""
    folder = Path(str(importlib.resources.files("pocketbert.recipe") / "builtin"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary_of(path: Path) -> str:
    """The one line that a recipe file says of itself: its first comment."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def load_recipe(name: str, *, changes: Sequence[str] = (), smoke: bool = False) -> Recipe:
    """Read a recipe file, or a built-in one by its name.

    `changes`: "distill.prediction.epochs=1" and the like, values as in YAML, laid over the file. `smoke`: shrink it to
    about a minute, as does `smoke: true` in the file. Raises UserError with every mistake, a line each.
    """
    path = Path(name)
    if not path.is_file():
        known = built_in()
        if name not in known:
            near = get_close_matches(path.stem, known)
            hint = f"did you mean {near[0]}?" if near else f"built-in ones: {', '.join(known)}"
            raise UserError(f"{name}: got neither a recipe file nor the name of a built-in recipe; {hint}")
        path = known[name]
    source = _read(path)
    for change in changes:
        _apply_override(source, change)
    try:
        recipe = Recipe.model_validate(source.content)
    except ValidationError as error:
        for entry in error.errors():
            source.tell(*_in_words(entry))
    _check_cross_section(source)
    if source.mistakes:
        raise UserError("\n".join(mistake for _, mistake in sorted(source.mistakes, key=itemgetter(0))))
    return smoke_recipe(recipe) if smoke or recipe.smoke else recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file, with every default filled in."""
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
    yaml = YAML(typ="safe", pure=True)  # libyaml, where it is installed, would read YAML 1.1: `no` as false
    yaml.allow_duplicate_keys = True  # told below, all of them
    try:
        text = path.read_text(encoding="utf-8-sig")
        root = yaml.compose(text)
        source = _Source(name=str(path), content=yaml.load(text))
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        hint = "; indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
        raise UserError(f"{path}{line}: not readable as YAML: {error.problem or error.context}{hint}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(source.content, dict):
        got = "nothing" if source.content is None else f"a {type(source.content).__name__}"
        raise UserError(f"{path}: got {got}, expected keys and values; `pocketbert new` writes a recipe to start from")
    _locate(root, (), source, set())
    return source


def _locate(node: Node, path: KeyPath, source: _Source, seen: set[int]) -> None:
    """Note the line of every key below the node, and the keys that stand twice."""
    if id(node) in seen:  # an alias: what it repeats stands where it was first written
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, value in node.value:
            inner, line = (*path, str(key.value)), f"line {key.start_mark.line + 1}"
            if inner in source.places:
                source.tell(inner, f"stands twice, again in {line}; remove one of them")
            source.places[inner] = line
            _locate(value, inner, source, seen)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            source.places[*path, index] = f"line {value.start_mark.line + 1}"
            _locate(value, (*path, index), source, seen)


def _apply_override(source: _Source, change: str) -> None:
    """Apply one --set."""
    dotted, equals, text = change.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"--set {change}: expected KEY=VALUE, such as distill.prediction.epochs=1")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--set {change}: the value is not readable as YAML; put text in quotes") from error
    section = source.content
    for key in path[:-1]:
        if section.get(key) is None:
            section[key] = {}
        if not isinstance(section[key], dict):
            raise UserError(f"--set {change}: {key} holds no keys, it is {_brief(section[key])}")
        section[key] = dict(section[key])  # an alias may repeat it elsewhere
        section = section[key]
    section[path[-1]] = value
    source.places = {known: place for known, place in source.places.items() if known[: len(path)] != path}
    source.places[path] = f"--set {change}"


def _check_cross_section(source: _Source) -> None:
    """Tell where one section contradicts another, whatever else is wrong."""

    def value(section: str, key: str, default: Any) -> Any:
        found = source.content.get(section)
        return found.get(key, default) if isinstance(found, dict) else default

    built = value("export", "variants", ExportSection().variants)
    for path in (("gate", "require"), ("export", "tolerance")):
        names = value(*path, [])
        for name in names if isinstance(names, list | dict) and isinstance(built, list) else ():
            if name in VARIANTS and name not in built:
                source.tell(path, f"got {name}, which is not in export.variants; add it there, or leave it out here")
    limit, lengths = value("task", "max_length", 128), value("bench", "fixed_lengths", [])
    for length in lengths if isinstance(lengths, list) and isinstance(limit, int) else ():
        if isinstance(length, int) and length > limit:
            source.tell(("bench", "fixed_lengths"), f"got {length}; expected at most task.max_length, {limit}")


def _in_words(entry: Any) -> tuple[KeyPath, str]:
    """A mistake that pydantic found: the key's path, and what is wrong with it."""
    path: KeyPath = tuple(part for part in entry["loc"] if part != "[key]")
    written, message = entry["input"], entry["msg"]
    got = f"got {_brief(written)}"
    match entry["type"]:
        case "missing":
            field = _annotation_at(path[:-1]).model_fields[path[-1]]
            return path, "missing" + (f"; expected: {field.description}" if field.description else "")
        case "extra_forbidden":
            return path, f"unknown key; {_suggestion(path)}"
        case "value_error":
            return path, message.removeprefix("Value error, ")
        case "string_pattern_mismatch":
            return path, f"{got}; expected letters, digits, dots, dashes and underscores"
        case kind if kind in EXPECTED:
            expected = EXPECTED[kind].format(**entry.get("ctx", {}))
            near = get_close_matches(str(written), re.findall(r"'([^']+)'", expected), n=1)
            return path, f"{got}; expected {expected}" + (f"; did you mean {near[0]}?" if near else "")
    return path, f"{got}; {message[0].lower()}{message[1:]}"


def _suggestion(path: KeyPath) -> str:
    """What an unknown key may have been meant for: one of its neighbours, or the same key in another section."""
    key, section = str(path[-1]), _annotation_at(path[:-1])
    siblings = list(section.model_fields) if section is not None else []
    if near := get_close_matches(key, siblings, n=1):
        return f"did you mean {near[0]}?"
    if elsewhere := [_dotted(known) for known in _keys(Recipe) if known[-1] == key]:
        return f"it belongs elsewhere: {', '.join(elsewhere)}"
    if near := get_close_matches(key, {known[-1]: None for known in _keys(Recipe)}, n=1):
        return f"did you mean {', '.join(_dotted(known) for known in _keys(Recipe) if known[-1] == near[0])}?"
    return f"there are {', '.join(siblings)}"


def _annotation_at(path: KeyPath) -> Any:
    """The section that a path of keys leads to; None where there is none."""
    annotation: Any = Recipe
    for key in path:
        section = _section_in(annotation)
        if section is not None and key in section.model_fields:
            annotation = section.model_fields[str(key)].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return None
    return _section_in(annotation)


def _section_in(annotation: Any) -> type[RecipeSection] | None:
    """The section class of an annotation such as `GeneralSection | None`."""
    choices = [annotation, *get_args(annotation)]
    return next((choice for choice in choices if isinstance(choice, type) and issubclass(choice, RecipeSection)), None)


def _keys(section: type[RecipeSection], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys that a recipe may have."""
    for name, known in section.model_fields.items():
        yield (*path, name)
        inner = _section_in(known.annotation)
        if inner is not None:
            yield from _keys(inner, (*path, name))


def _brief(value: object) -> str:
    """What was written, cut where it is long or deep."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 2, 60, 60
    return brief.repr(value)


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
