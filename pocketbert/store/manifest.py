"""The manifest of a run folder: a record of each finished stage, with the inputs of its result."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from compress.common.errors import UserError, first_invalid
from compress.common.files import write_json
from compress.common.owned_files import is_inside
from compress.reading.json_files import parse_json, read_json_object

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
MAX_VALUE_LETTERS = 40
ADVICE = "move the folder away to start the run over, or choose another with --output"

Inputs = Mapping[str, JsonValue]
Name = TypeVar("Name", bound=str)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """Proof that a stage is finished: its inputs, its files, its result and its duration.

    `inputs`: plain values, from which the fingerprint is computed. `files`: path in the stage's folder -> sha256.
    `result`: the dataclass that the stage returned, as plain values.
    """

    fingerprint: str
    inputs: dict[str, JsonValue] = field(default_factory=dict)
    files: dict[str, str]
    result: JsonValue
    seconds: float
    versions: dict[str, str]

    def result_as(self, result_type: type[Result]) -> Result:
        """The result, as the type that the stage returned. Raises UserError if it is not of that type."""
        try:
            return TypeAdapter(result_type).validate_python(self.result)
        except ValidationError as error:
            raise UserError(
                f"{MANIFEST}: the result of a stage was changed ({first_invalid(error)}); remove the stage's entry to "
                "do the stage again"
            ) from error


@dataclass(frozen=True, kw_only=True)
class StagePlan(Generic[Name]):
    """A stage to do. The fingerprint covers everything that its result depends on, including earlier stages.

    `inputs`: plain values, from which the fingerprint is computed. `shared`: the result goes into the cache, and the
    run links to it; other runs reuse it by its fingerprint.
    """

    name: Name
    fingerprint: str
    inputs: Inputs
    shared: bool = False


def stage_plan(
    name: Name, inputs: Inputs, *, after: Sequence[StagePlan[Name]] = (), shared: bool = False
) -> StagePlan[Name]:
    """Plan a stage. `inputs`: plain values that its result depends on. `after`: earlier stages that it depends on."""
    content: dict[str, JsonValue] = {**inputs, "after": {str(earlier.name): earlier.fingerprint for earlier in after}}
    return StagePlan(name=name, fingerprint=fingerprint_of({"stage": name, **content}), inputs=content, shared=shared)


def fingerprint_of(content: object) -> str:
    """sha256 of plain values, which does not depend on the order of keys in dictionaries."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    """The content of manifest.json. `files`: path -> sha256 of our files outside of the stages' folders."""

    format_version: Literal[2]
    stages: dict[str, StageRecord]
    files: dict[str, str] = field(default_factory=dict)


@cache
def _manifest() -> TypeAdapter[_Manifest]:
    return TypeAdapter(_Manifest)


def write_manifest(folder: Path, records: Mapping[str, StageRecord], files: Mapping[str, str]) -> None:
    """Write the manifest of a run folder, atomically. `files`: our files outside of the stages' folders."""
    stages = {name: asdict(record) for name, record in records.items()}
    write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "stages": stages, "files": dict(files)})


def create_manifest(folder: Path) -> None:
    """Write a manifest without stages, unless another process has done so."""
    if os.path.lexists(folder / MANIFEST):
        return
    empty = folder / f".{secrets.token_hex(8)}.partial"
    write_json(empty, {"format_version": FORMAT_VERSION, "stages": {}, "files": {}})
    try:
        os.link(empty, folder / MANIFEST)  # unlike a renaming, it never replaces a manifest
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not os.path.lexists(folder / MANIFEST):
            empty.rename(folder / MANIFEST)
    finally:
        empty.unlink(missing_ok=True)


def read_manifest(folder: Path) -> dict[str, StageRecord]:
    """The records of a run folder, by stage; empty without a manifest. Raises UserError for a foreign manifest."""
    manifest = _read(folder)
    return {} if manifest is None else manifest.stages


def read_files(folder: Path) -> dict[str, str] | None:
    """Our files outside of the stages' folders, with their hashes; None without a manifest. Raises UserError."""
    manifest = _read(folder)
    if manifest is None:
        return None
    return {name: digest for name, digest in manifest.files.items() if is_inside(name)}


def _read(folder: Path) -> _Manifest | None:
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    problem = "not a manifest of a run"
    content = read_json_object(path, problem=problem, advice=ADVICE)
    try:
        if content["format_version"] == 1:
            raise UserError(
                f"{folder}: a run of PocketBERT 0.1.0, which this version cannot continue; choose another folder with "
                "--output, or move this one away to start the run over"
            )
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']}, expected {FORMAT_VERSION}")
        return _manifest().validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: {problem} ({first_invalid(error)}); {ADVICE}") from error
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: {problem} ({type(error).__name__}: {error}); {ADVICE}") from error


@cache
def _record() -> TypeAdapter[StageRecord]:
    return TypeAdapter(StageRecord)


def read_record(path: Path) -> StageRecord | None:
    """The record in a file of its own; None if it cannot be read."""
    try:
        return _record().validate_python(parse_json(path.read_bytes()))
    except (OSError, ValueError):
        return None


def first_difference(before: JsonValue, after: object, key: str = "") -> str:
    """The first input of a stage that changed, with its old and new value, in one line."""
    if isinstance(before, dict) and isinstance(after, Mapping):
        for name in [*after, *(name for name in before if name not in after)]:
            if before.get(name) != after.get(name):
                return first_difference(before.get(name), after.get(name), f"{key}.{name}" if key else name)
    section, _, name = key.rpartition(".")
    if section == "after":
        return f"the result of {name} changed"
    if section == "code":
        return f"the code of {name} changed"
    hint = ""
    if key == "threads" and before is not None and after is not None:  # torch uses no more threads than cores
        hint = f"; to keep it, set OMP_NUM_THREADS={before} on a machine with as many cores"
    return f"{key or 'its record'} changed from {_brief(before)} to {_brief(after)}{hint}"


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_VALUE_LETTERS else f"{text[:MAX_VALUE_LETTERS]}..."
