"""The published form of results.json and of `pocketbert bench --json`: its version, and its JSON Schema."""

from typing import Any

from pydantic import TypeAdapter

from bench.latency import Protocol
from bench.results import Row
from bench.stats import Ratio

FORMAT_VERSION = 2  # changes whenever a reader of the version before would misread it


def results_schema() -> dict[str, Any]:
    """JSON Schema of the benchmark's results, draft 2020-12. A run's results have further stages beside `bench`."""
    texts, numbers = {"type": "string"}, {"type": "number"}
    parts = {
        "machine": {"type": "object", "required": ["cpu", "instructions", "usable_cores", "load_average", "versions"]},
        "protocol": {"$ref": "#/$defs/Protocol"},
        "metric": texts,
        "grid": {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+x[0-9]+$"}},
        "same_twice": {
            "type": ["object", "null"],
            "properties": {"name": texts, "ratio": {"$ref": "#/$defs/Ratio"}, "is_valid": {"type": "boolean"}},
        },
        "speed_up": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"type": "object", "properties": {"what": texts, "ratio": {"$ref": "#/$defs/Ratio"}}},
            },
        },
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
        "seconds": numbers,
    }
    bench = {"type": "object", "properties": parts, "required": [name for name in parts if name != "seconds"]}
    definitions: dict[str, Any] = {}
    for kind in (Row, Ratio, Protocol):
        schema = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        definitions[kind.__name__] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Results of a PocketBERT benchmark",
        "type": "object",
        "properties": {
            "format_version": {"const": FORMAT_VERSION},
            "name": texts,
            "metric": texts,
            "stages": {"type": "object", "properties": {"bench": bench}, "required": ["bench"]},
        },
        "required": ["format_version", "name", "metric", "stages"],
        "$defs": definitions,
    }
