"""Validates an InferenceService with the schema in KServe's own definition of the resource."""

from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML


def problems(service: Path, definition: Path) -> list[str]:
    """What the schema refuses. A field that it does not know is refused too, as `kubectl apply` does."""
    yaml = YAML(typ="safe")
    document = yaml.load(service.read_text(encoding="utf-8"))
    resource = yaml.load(definition.read_text(encoding="utf-8"))
    group, _, version = document["apiVersion"].partition("/")
    assert (resource["spec"]["group"], resource["spec"]["names"]["kind"]) == (group, document["kind"])
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in resource["spec"]["versions"] if each["name"] == version]
    metadata = {"metadata": {"type": "object", "required": ["name"]}}
    schema = _strict({**schema, "properties": {**schema["properties"], **metadata}})
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)]


def _strict(schema: Any) -> Any:
    """The schema, in which an object has no other fields than those named."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
