"""bundle.json as typed records, read and written without torch or onnxruntime."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AliasPath, Field, JsonValue, TypeAdapter, ValidationError

from compress.common.errors import UserError, first_invalid
from compress.common.files import write_json
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName, type_of_model
from export.machine_facts import Machine
from export.results import Parity, Saturation

FORMAT_VERSION: Final = 1  # changes whenever a predict.py of the version before would misread it
FILE = "bundle.json"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """An example stored in the bundle, with its own model's answer to it: each class's probability, or the value."""

    text: str
    pair: str | None
    probabilities: list[float]


@dataclass(frozen=True, kw_only=True)
class BundleProof:
    """The comparison of the bundle with torch, as in `export.results.VariantResult`.

    `measured_on`: the machine; None where the maker of the bundle did not say.
    """

    metric: Metric
    parity: Parity
    other_providers: dict[str, Parity] = field(default_factory=dict)
    without_vnni: Saturation | None = None
    measured_on: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """The content of bundle.json.

    `labels`: of the outputs, in the order of the logits. `max_length`: tokens that texts are cut to, in the file at
    `limits.max_length`. `saturates`: whether its byte products would saturate on an x86-64 processor without VNNI.
    `batch_invariant`: whether a text's answer is independent of its batch; `predict.py` runs texts one by one where it
    is not. `origin`, `versions` (of packages) and `measured` are what the model card lists. `recommended`: whether it
    is the variant of its run to take.
    """

    format_version: Literal[1] = FORMAT_VERSION
    name: str
    variant: str
    task_type: TaskTypeName
    labels: list[str]
    takes_pairs: bool
    max_length: Annotated[int, Field(validation_alias=AliasPath("limits", "max_length"))]
    pad_token_id: int
    saturates: bool
    batch_invariant: bool = False
    origin: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    measured: dict[str, int | float] = field(default_factory=dict)
    golden: list[Golden] = field(default_factory=list)
    proof: BundleProof | None = None
    recommended: bool = False


@cache
def _adapter() -> TypeAdapter[BundleInfo]:
    return TypeAdapter(BundleInfo)


def read_bundle_info(folder: Path) -> BundleInfo:
    """The bundle.json of a bundle that this version or 0.1.0 wrote. Raises UserError where the folder is no bundle."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no bundle: its bundle.json cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder}: bundle.json is not of format version {FORMAT_VERSION}; use the PocketBERT that made it"
        )
    try:
        return _adapter().validate_python(content if "task_type" in content else _from_version_0_1_0(content))
    except ValidationError as error:
        raise UserError(
            f"{folder}: bundle.json is not as it was written ({first_invalid(error)}); copy or export the bundle again"
        ) from error


def write_bundle_info(info: BundleInfo, folder: Path) -> None:
    """Write bundle.json, atomically."""
    content = asdict(info)
    content["limits"] = {"max_length": content.pop("max_length")}
    write_json(folder / FILE, content)


NAMES_SINCE_0_1_0 = {
    "metric": "score",
    "torch_metric": "torch_score",
    "paired": "difference",
    "difference": "value",
    "found": "actual",
    "company": "batch_invariance",
    "asked_for": "requested_provider",
    "ran": "session",
    "memory.total": "memory_total",
    "clocks.sm": "sm_clock",
    "temperature.gpu": "temperature",
    "power.draw": "power_draw",
}


def _from_version_0_1_0(content: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The content of a bundle.json of version 0.1.0, recognised by its lack of a task type, in today's form.

    Early ones hold no proof and do not say whether products saturate. The keys of a proof itself, `metric` among them,
    are the same today; those of the records inside it are renamed. Parts of it that are empty were unknown.
    """
    labels, proof = content.get("labels"), content.get("proof")
    return {
        "name": "PocketBERT bundle",
        "saturates": True,
        **content,
        "task_type": type_of_model(None, [str(name) for name in labels] if isinstance(labels, list) else []),
        "proof": {key: _renamed(part) for key, part in proof.items() if part} if isinstance(proof, dict) else None,
    }


def _renamed(record: JsonValue) -> JsonValue:
    match record:
        case dict():
            return {NAMES_SINCE_0_1_0.get(key, key): _renamed(value) for key, value in record.items()}
        case list():
            return [_renamed(value) for value in record]
    return record
