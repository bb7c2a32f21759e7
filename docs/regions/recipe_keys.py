"""The keys of a recipe, from the types of `pocketbert.recipe`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic_core import PydanticUndefined

from export.quantisation.variants import VARIANTS
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import (
    AUTO,
    CorpusSection,
    LayerWiseSection,
    RecipeSection,
    SearchableSection,
    StageSection,
)
from regions.cells import listed, table

SHARED: Mapping[type[RecipeSection], str] = {  # sections whose keys several others have, and the heading of their table
    StageSection: "Keys of every training stage",
    SearchableSection: "Keys of stages with a score on dev",
    LayerWiseSection: "Keys of both layer-wise stages",
    CorpusSection: "Keys of both stages on running text",
}


def recipe_keys(results: Path) -> str:
    """A table of keys for each section, the shared ones first; `results` is not read."""
    sections = dict(_sections(Recipe))
    parts = []
    for shared, heading in SHARED.items():
        users = [f"`{path}`" for path, section in sections.items() if issubclass(section, shared)]
        keys = [key for key in shared.model_fields if not _is_inherited(shared, key)]
        parts += [f"### {heading}", f"In {', '.join(users)}.", _table(shared, "", keys)]
    for path, section in sections.items():
        parts += [f"### {path or 'Top level'}", _first_line(section)]
        if bases := [heading for shared, heading in SHARED.items() if issubclass(section, shared)]:
            links = [f"the {_link(heading[0].lower() + heading[1:], heading)}" for heading in bases]
            parts.append(f"It also has {listed(links)}.")
        keys = [key for key in section.model_fields if section in SHARED or not _is_inherited(section, key)]
        if keys:
            parts.append(_table(section, path, keys))
    return "\n\n".join(parts)


def _sections(section: type[RecipeSection], path: str = "") -> Iterator[tuple[str, type[RecipeSection]]]:
    """Every section of the recipe by its path, such as "distill.general"."""
    yield path, section
    for key, field in section.model_fields.items():
        if (inner := _section_in(field.annotation)) is not None:
            name = f"{key}.VARIANT" if getattr(field.annotation, "__origin__", None) is dict else key
            yield from _sections(inner, f"{path}.{name}".lstrip("."))


def _section_in(annotation: Any) -> type[RecipeSection] | None:
    """The section class of an annotation such as `GeneralSection | None`."""
    choices = (annotation, *get_args(annotation))
    return next((each for each in choices if isinstance(each, type) and issubclass(each, RecipeSection)), None)


def _is_inherited(section: type[RecipeSection], key: str) -> bool:
    """Whether a shared section has this key with the same default."""
    bases = [base for base in _bases(section)[1:] if base in SHARED and key in base.model_fields]
    return bool(bases) and bases[0].model_fields[key].default == section.model_fields[key].default


def _bases(section: type[RecipeSection]) -> list[type[RecipeSection]]:
    """A section and the sections that it inherits keys from."""
    return [base for base in section.__mro__ if issubclass(base, RecipeSection)]


def _table(section: type[RecipeSection], path: str, keys: list[str]) -> str:
    schema = section.model_json_schema()
    rows = []
    for key in keys:
        inner = _section_in(section.model_fields[key].annotation)
        if inner is None:
            kind = _words(schema["properties"][key])
            rows.append((f"`{key}`", kind, _default(section, key), _description(section, key)))
        else:
            title = f"{path}.{key}".lstrip(".")
            is_optional = section.model_fields[key].default is None
            target = next(
                each
                for each, section_class in _sections(Recipe)
                if section_class is inner and (each.startswith(title) or each.endswith(f".{title}"))
            )
            rows.append(
                (f"`{key}`", _link("section", target), "none" if is_optional else "", _description(section, key))
            )
    return table(("key", "type", "default", "meaning"), rows, text_columns=(0, 1, 2, 3))


def _description(section: type[RecipeSection], key: str) -> str:
    """One sentence: the field's own description, else that of the section it comes from or leads to."""
    for base in _bases(section):
        if key in base.model_fields and (text := base.model_fields[key].description):
            return text.replace("|", r"\|").rstrip(".") + "."
    inner = _section_in(section.model_fields[key].annotation)
    if inner is None:
        raise ValueError(f"{section.__name__}.{key} has no description")
    return _first_line(inner)


def _first_line(section: type[RecipeSection]) -> str:
    return (section.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def _default(section: type[RecipeSection], key: str) -> str:
    field = section.model_fields[key]
    if field.default is PydanticUndefined:
        users = [user for _, user in _sections(Recipe) if issubclass(user, section) and user is not section]
        return (
            "per stage"
            if any(user.model_fields[key].default is not PydanticUndefined for user in users)
            else "required"
        )
    if field.json_schema_extra is not None:  # it depends on another key
        return "see right"
    if field.default is None:
        choices = section.model_json_schema()["properties"][key].get("anyOf", ())
        return "`auto`" if {"const": AUTO} in choices else "none"
    return f"`{_yaml(field.default)}`"


def _yaml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float) and 0 < value < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return value if isinstance(value, str) else json.dumps(value)


def _words(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in words, such as "whole number, 1 or more"."""
    if "anyOf" in schema:
        choices = [each for each in schema["anyOf"] if each.get("type") != "null"]
        if len(choices) == 2 and choices[1].get("items") in (choices[0], {"type": choices[0].get("type")}):
            return f"{_words(choices[0])}; or a list of these"
        return " or ".join(map(_words, choices))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        names = schema["enum"]
        return _link("variant", "variants.md") if names == list(VARIANTS) else ", ".join(f"`{name}`" for name in names)
    match schema["type"]:
        case "array":
            return f"list; each: {_words(schema['items'])}"
        case "object":
            return f"{_words(schema['propertyNames'])}; each: {_words(schema['additionalProperties'])}"
        case "boolean":
            return "`true`, `false`"
        case "string":
            return "text"
        case "integer" | "number" as kind:
            return _bounded("whole number" if kind == "integer" else "number", schema)
    raise ValueError(f"no words for {schema}")


def _bounded(kind: str, schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if kind == "whole number":
        low = above + 1 if low is None and above is not None else low
        high = below - 1 if high is None and below is not None else high
        above = below = None
    words = [
        f"{low:,} to {high:,}" if low is not None and high is not None else "",
        f"{low:,} or more" if low is not None and high is None else "",
        f"{high:,} or less" if high is not None and low is None else "",
        f"above {above:g}" if above is not None else "",
        f"below {below:g}" if below is not None else "",
    ]
    return ", ".join([kind, *filter(None, words)])


def _link(text: str, target: str) -> str:
    """A link to a file, or to the heading of a section here."""
    if target.endswith(".md"):
        return f"[{text}]({target})"
    anchor = "".join(letter for letter in target.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
    return f"[{text}](#{anchor})"


REGIONS = {"recipe-keys": recipe_keys}
