"""The published form of results.json and of `pocketbert bench --json`: its version, and its JSON Schema."""

from typing import Any

from pydantic import TypeAdapter

from bench.latency import Protocol
from bench.load import Loaded
from bench.noise import Noise
from bench.profile import Profile
from bench.results import Row
from bench.stats import Ratio
from bench.threads import Threaded

FORMAT_VERSION = 4  # changes whenever a reader of the version before would misread it


def results_schema() -> dict[str, Any]:
    """JSON Schema of the benchmark's results, draft 2020-12. A run's results have further stages beside `bench`."""
    texts, numbers = {"type": "string"}, {"type": "number"}
    ratios = {
        "type": "array",
        "items": {"type": "object", "properties": {"what": texts, "ratio": {"$ref": "#/$defs/Ratio"}}},
    }
    by_where = {"type": "object", "additionalProperties": ratios}  # TEXTS, and the shapes of the grid
    parts = {
        "machine": {"type": "object", "required": ["cpu", "instructions", "usable_cores", "load_average", "versions"]},
        "protocol": {"$ref": "#/$defs/Protocol"},
        "metric": texts,
        "grid": {"type": "array", "items": {"type": "string", "pattern": "^[0-9]+x[0-9]+$"}},
        "same_twice": {
            "type": ["object", "null"],
            "properties": {"name": texts, "ratio": {"$ref": "#/$defs/Ratio"}, "is_valid": {"type": "boolean"}},
        },
        "noise": {"$ref": "#/$defs/Noise"},
        "lengths": {"type": ["object", "null"], "additionalProperties": numbers},
        "speed_up": {"type": "object", "additionalProperties": by_where},
        "against": {"type": "object", "additionalProperties": by_where},
        "sizes": {
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "limits": {
            "type": ["object", "null"],
            "properties": {
                "ceilings": {"type": "object", "required": ["products", "gigabytes_per_s", "num_threads"]},
                "profiles": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/Profile"}},
                },
            },
        },
        "load": {
            "type": ["object", "null"],
            "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/Loaded"}}},
        },
        "threads": {
            "type": ["object", "null"],
            "properties": {"rows": {"type": "array", "items": {"$ref": "#/$defs/Threaded"}}},
        },
        "hashes": {"type": "object", "required": ["models", "texts", "code"]},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
        "seconds": numbers,
    }
    bench = {"type": "object", "properties": parts, "required": [name for name in parts if name != "seconds"]}
    definitions: dict[str, Any] = {}
    for kind in (Row, Ratio, Protocol, Noise, Profile, Loaded, Threaded):
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
