"""The structure of recipes: their JSON Schema, for editors, and their sections and keys."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pocketbert.recipe.renamed_keys import OLD_NAMES_WORK_IN, RENAMED_KEYS, KeyPath
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import RecipeSection


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe. Old names of keys are deprecated properties."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
    for (*sections, key), name in RENAMED_KEYS.items():
        section = schema
        for each in sections:
            section = _definition(schema, section["properties"][each])
        new_property = {part: value for part, value in section["properties"][name].items() if part != "default"}
        description = f"Old name of {name}; works in version {OLD_NAMES_WORK_IN} only"
        section["properties"][key] = {**new_property, "description": description, "deprecated": True}
    return schema


def _definition(schema: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """The definition that a property refers to, directly or as one of its alternatives."""
    (reference,) = [each["$ref"] for each in (section, *section.get("anyOf", ())) if "$ref" in each]
    definition: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return definition


def section_at(path: KeyPath) -> Any:
    """The section class at a path of keys; None if there is none."""
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


def key_paths(section: type[RecipeSection] = Recipe, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys that a recipe may have."""
    for name, known in section.model_fields.items():
        yield (*path, name)
        inner = _section_in(known.annotation)
        if inner is not None:
            yield from key_paths(inner, (*path, name))
