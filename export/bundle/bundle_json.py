"""Reads and writes bundle.json as typed records, without torch or onnxruntime."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AliasPath, Field, JsonValue, TypeAdapter, ValidationError

from compress.common.errors import UserError, first_invalid
from compress.common.files import LFS_POINTER, write_json
from compress.common.wording import shorten
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName, type_of_model
from export.bundle.listed_files import BUNDLE_FILE, BundleError, read_small_file, require_bundle
from export.bundle.settings import FORMAT_VERSIONS, MAX_JSON_BYTES, MAX_LENGTH, MAX_TOKEN_ID, parse_json
from export.machine_facts import Machine
from export.results import Parity, Saturation

NUM_GOLDEN = 16  # golden examples at least, since version 0.6.0
# The versions of the format. An older reader would misread a file with a setting of version 2, so only bundles with
# such a setting have that version.
FIRST_VERSION: Final = 1
WITH_TOKENIZER_SETTINGS: Final = 2

TruncationSide = Literal["right", "left"]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
StrictBool = Annotated[bool, Field(strict=True)]
MaxLength = Annotated[int, Field(strict=True, ge=1, le=MAX_LENGTH, validation_alias=AliasPath("limits", "max_length"))]


@dataclass(frozen=True, kw_only=True)
class GoldenExample:
    """An example stored in the bundle, with its model's output: one probability per class, or the value.

    `logits`: one per class; empty in a bundle of version 0.5.0 or older.
    """

    text: str
    pair: str | None
    probabilities: list[FiniteNumber]
    logits: list[FiniteNumber] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class GoldenTerms:
    """What the golden examples belong to, and how exactly they must be repeated.

    `labels`: names of the logits, in their order. `model_sha256`: of onnx/model.onnx. `logit_tolerance`: the largest
    change of a logit that rounding explains, on any processor and in any supported version of onnxruntime.
    """

    labels: list[str]
    model_sha256: str
    logit_tolerance: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class BundleProof:
    """The comparison of the bundle with torch. The fields are those of `export.results.VariantResult`.

    `positive`: the class of the metric f1, for two classes. `measured_on`: the machine of the comparison; None if it
    was not recorded.
    """

    metric: Metric
    positive: str | None = None
    parity: Parity
    other_providers: dict[str, Parity] = field(default_factory=dict)
    without_vnni: Saturation | None = None
    measured_on: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """The content of bundle.json.

    `labels`: names of the outputs, in the order of the logits. `max_length`: texts are truncated to this number of
    tokens; `limits.max_length` in the file. `truncation_side`: the end that truncation removes;
    `limits.truncation_side` in the file. `split_special_tokens`: whether special tokens in a text, such as "[SEP]", are
    split like other words. `saturates`: whether int8 products saturate on x86-64 processors without VNNI.
    `batch_invariant`: whether the output for a text is independent of its batch; if not, `predict.py` runs texts one at
    a time. `requires`: the oldest versions of packages that can load the bundle. The model card lists `origin`,
    `versions` (of packages) and `measured`. `digests`: the SHA-256 of what the bundle was made from, by its name:
    "recipe" (recipe.yaml of the run), "rows" (all texts and labels) and "train: FILE", a table. `dataset`: the name of
    the data on which it was measured. `dataset_splits`: dev, and test if it has rows of its own. `base_models`: names
    on the Hub. Bundles of version 0.8.0 or older have none of the four. `golden_terms`: None in a bundle of version
    0.5.0 or older. `recommended`: whether this is the recommended variant of its run. `vocabulary_size`: the number of
    embeddings, and so of token ids; None in a bundle of version 0.5.0 or older.
    """

    name: str
    variant: str
    task_type: TaskTypeName
    labels: list[str]
    takes_pairs: StrictBool
    max_length: MaxLength
    pad_token_id: Annotated[int, Field(strict=True, ge=0, le=MAX_TOKEN_ID)]
    saturates: StrictBool
    truncation_side: Annotated[TruncationSide, Field(validation_alias=AliasPath("limits", "truncation_side"))] = "right"
    split_special_tokens: StrictBool = False
    requires: dict[str, str] = field(default_factory=dict)
    batch_invariant: StrictBool = False
    origin: dict[str, str] = field(default_factory=dict)
    digests: dict[str, Sha256] = field(default_factory=dict)
    dataset: str | None = None
    dataset_splits: list[str] = field(default_factory=list)
    base_models: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    measured: dict[str, int | float] = field(default_factory=dict)
    golden: list[GoldenExample] = field(default_factory=list)
    golden_terms: GoldenTerms | None = None
    proof: BundleProof | None = None
    recommended: bool = False
    vocabulary_size: Annotated[int, Field(strict=True, ge=1, le=MAX_TOKEN_ID)] | None = None


@contextmanager
def bundle_errors() -> Iterator[None]:
    """Report errors of the runtime about a bundle as UserError. The runtime imports nothing of ours."""
    try:
        yield
    except BundleError as error:
        raise UserError(str(error)) from error


@cache
def _adapter() -> TypeAdapter[BundleInfo]:
    return TypeAdapter(BundleInfo)


def read_bundle_info(folder: Path) -> BundleInfo:
    """Read the bundle.json of this version or of version 0.1.0. Raises UserError if the folder is not a bundle."""
    with bundle_errors():
        require_bundle(folder)
    try:
        data = read_small_file(folder / BUNDLE_FILE, MAX_JSON_BYTES)
        if data.startswith(LFS_POINTER):
            raise UserError(f"{folder}: {BUNDLE_FILE} is a Git LFS pointer, not the file itself; run git lfs pull")
        content = parse_json(data)
        json.dumps(content, ensure_ascii=False).encode()  # raises UnicodeEncodeError for half of a surrogate pair
    except UserError:
        raise
    except BundleError as error:
        raise UserError(str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder} is not a bundle: bundle.json cannot be read ({error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is not int or version not in FORMAT_VERSIONS:
        raise UserError(
            f"{folder}: bundle.json does not have format version {' or '.join(map(str, FORMAT_VERSIONS))} (got "
            f"{version!r:.60}); use the PocketBERT version that wrote it"
        )
    try:
        info = _adapter().validate_python(content if "task_type" in content else _from_version_0_1_0(content))
        _check(info)
    except ValidationError as error:
        raise UserError(
            f"{folder}: bundle.json is damaged ({shorten(first_invalid(error))}); copy or export the bundle again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder}: bundle.json is damaged ({error}); copy or export the bundle again") from error
    return info


def _check(info: BundleInfo) -> None:
    """Raise ValueError if values do not fit each other."""
    if not info.labels or len(set(info.labels)) != len(info.labels):
        raise ValueError(f"labels: got {shorten(repr(info.labels))}; expected different names")


def write_bundle_info(info: BundleInfo, folder: Path) -> None:
    """Write bundle.json atomically."""
    content = asdict(info)
    content["limits"] = {name: content.pop(name) for name in ("max_length", "truncation_side")}
    write_json(folder / BUNDLE_FILE, {"format_version": _format_version(info), **content})


def _format_version(info: BundleInfo) -> int:
    has_settings = info.truncation_side != "right" or info.split_special_tokens
    return WITH_TOKENIZER_SETTINGS if has_settings else FIRST_VERSION


RENAMED_SINCE_0_1_0 = {
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
    """Convert the content of a bundle.json of version 0.1.0, which has no task type, to the present form.

    The oldest files have no proof and no `saturates`. The keys of the proof itself, `metric` among them, have not
    changed; keys of the records inside it have. Empty parts of a proof were unknown.
    """
    labels, proof = content.get("labels"), content.get("proof")
    return {
        "name": "PocketBERT bundle",
        "saturates": True,
        **content,
        "task_type": type_of_model(None, [str(name) for name in labels] if isinstance(labels, list) else []),
        "proof": {key: _rename_keys(part) for key, part in proof.items() if part} if isinstance(proof, dict) else None,
    }


def _rename_keys(record: JsonValue) -> JsonValue:
    match record:
        case dict():
            return {RENAMED_SINCE_0_1_0.get(key, key): _rename_keys(value) for key, value in record.items()}
        case list():
            return [_rename_keys(value) for value in record]
    return record
