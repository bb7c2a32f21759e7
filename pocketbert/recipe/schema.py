"""The JSON Schema of recipes, for editors."""

from typing import Any

from pocketbert.recipe.renamed_keys import OLD_NAMES_WORK_IN, RENAMED_KEYS
from pocketbert.recipe.sections import Recipe


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
