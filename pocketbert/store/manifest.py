"""What a run folder proves: a record for each stage that is done, and what it was made from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from compress.common.errors import UserError, first_invalid
from compress.common.files import write_json

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
LONGEST_VALUE_SHOWN = 40
ADVICE = "move it away to begin the run anew, or choose another folder with --output"

Inputs = Mapping[str, JsonValue]
Name = TypeVar("Name", bound=str)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """Proof that a stage is done: what it was made from, what it left, how long it took.

    `inputs`: the plain values behind the fingerprint. `files`: path inside the stage's folder -> sha256. `result`: what
    the stage reported, as plain values.
    """

    fingerprint: str
    inputs: dict[str, JsonValue] = field(default_factory=dict)
    files: dict[str, str]
    result: JsonValue
    seconds: float
    versions: dict[str, str]

    def result_as(self, kind: type[Result]) -> Result:
        """What the stage reported, as the type that it returned. Raises UserError where it is another's."""
        try:
            return TypeAdapter(kind).validate_python(self.result)
        except ValidationError as error:
            raise UserError(
                f"{MANIFEST}: the result of a stage is not as it was written ({first_invalid(error)}); remove the "
                "stage's entry there, and it is done again"
            ) from error


@dataclass(frozen=True, kw_only=True)
class StagePlan(Generic[Name]):
    """A stage before it is done. The fingerprint stands for all that its result depends on, earlier stages included.

    `inputs`: the plain values behind it. `shared`: the result is kept in the cache, where other runs find it by its
    fingerprint, and linked from the run.
    """

    name: Name
    fingerprint: str
    inputs: Inputs
    shared: bool = False


def stage_plan(
    name: Name, inputs: Inputs, *, after: Sequence[StagePlan[Name]] = (), shared: bool = False
) -> StagePlan[Name]:
    """`inputs`: what the result depends on, as plain values. `after`: earlier stages whose results go in."""
    content: dict[str, JsonValue] = {**inputs, "after": {str(earlier.name): earlier.fingerprint for earlier in after}}
    return StagePlan(name=name, fingerprint=fingerprint_of({"stage": name, **content}), inputs=content, shared=shared)


def fingerprint_of(content: object) -> str:
    """sha256 over plain values; dictionaries in the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    """The content of manifest.json."""

    format_version: Literal[2]
    stages: dict[str, StageRecord]


@cache
def _manifest() -> TypeAdapter[_Manifest]:
    return TypeAdapter(_Manifest)


def write_manifest(folder: Path, records: Mapping[str, StageRecord]) -> None:
    """Write the manifest of a run folder, atomically."""
    stages = {name: asdict(record) for name, record in records.items()}
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "stages": stages})


def read_manifest(folder: Path) -> dict[str, StageRecord]:
    """What a run folder's manifest proves, by stage; empty where there is none. UserError where it is none of ours."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] == 1:
            raise UserError(
                f"{folder}: a run of PocketBERT 0.1.0, which this version cannot go on with; choose another folder "
                f"with --output, or move {MANIFEST} away: the run then begins anew"
            )
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']}, expected {FORMAT_VERSION}")
        return _manifest().validate_python(content).stages
    except ValidationError as error:
        raise UserError(f"{path}: not a manifest of a run ({first_invalid(error)}); {ADVICE}") from error
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a manifest of a run ({type(error).__name__}: {error}); {ADVICE}") from error


@cache
def _record() -> TypeAdapter[StageRecord]:
    return TypeAdapter(StageRecord)


def read_record(path: Path) -> StageRecord | None:
    """One record in a file of its own; None where it cannot be read."""
    try:
        return _record().validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def first_difference(before: JsonValue, after: object, key: str = "") -> str:
    """What changed between the inputs of a stage, in one line: the first value that differs, then and now."""
    if isinstance(before, dict) and isinstance(after, Mapping):
        for name in [*after, *(name for name in before if name not in after)]:
            if before.get(name) != after.get(name):
                return first_difference(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    section, _, name = key.rpartition(".")
    if section == "after":
        return f"{name} is another than it was made from"
    if section == "code":
        return f"the code of {name} changed"
    hint = ""
    if key == "threads" and before is not None and after is not None:  # torch has no more threads than cores
        hint = f"; OMP_NUM_THREADS={before} keeps it, given as many cores"
    return f"{key or 'its record'} was {_brief(before)}, is {_brief(after)}{hint}"


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[:LONGEST_VALUE_SHOWN]}..."
