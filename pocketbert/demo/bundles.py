"""What the page must know about a bundle: settings, golden examples, special tokens and the hashes of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from compress.common.errors import UserError, first_line
from compress.common.escaping import one_line
from export.bundle.bundle_json import BundleInfo, read_bundle_info
from export.bundle.listed_files import COPY_AGAIN, BundleError, check_files, read_sums

MODEL, TOKENIZER = "onnx/model.onnx", "tokenizer.json"
TEXTS = ("a", "0", "the")  # of at least one, a tokenizer makes a token


@dataclass(frozen=True, kw_only=True)
class DemoBundle:
    """A checked bundle. `hashes`: the SHA-256 of its model and its tokenizer. `template`: see `template_of`."""

    folder: Path
    info: BundleInfo
    hashes: dict[str, str]
    template: list[dict[str, Any]]
    remarks: list[str]

    def for_page(self) -> dict[str, Any]:
        """What the page reads, as JSON values. No path of this machine is part of it."""
        info = self.info
        return {
            "name": one_line(info.name),
            "variant": one_line(info.variant),
            "folder": one_line(self.folder.absolute().name),
            "taskType": info.task_type,
            "labels": [one_line(label) for label in info.labels],
            "takesPairs": info.takes_pairs,
            "maxLength": info.max_length,
            "truncationSide": info.truncation_side,
            "splitSpecialTokens": info.split_special_tokens,
            "vocabularySize": info.vocabulary_size,
            "template": self.template,
            "golden": [vars(example) for example in info.golden],
            "logitTolerance": info.golden_terms and info.golden_terms.logit_tolerance,
            "model": {"sha256": self.hashes[MODEL], "bytes": (self.folder / MODEL).stat().st_size},
            "tokenizer": {"sha256": self.hashes[TOKENIZER]},
        }


def load_bundles(folders: Sequence[Path]) -> list[DemoBundle]:
    """Check bundles for one page. Raises UserError, also if they take different inputs."""
    bundles = [load_bundle(folder) for folder in folders]
    if len({bundle.info.takes_pairs for bundle in bundles}) > 1:
        what = [f"{each.folder} takes {'two texts' if each.info.takes_pairs else 'one text'}" for each in bundles]
        raise UserError(f"{' and '.join(what)}; expected two bundles with the same input")
    return bundles


def load_bundle(folder: Path) -> DemoBundle:
    """Check the files of a bundle, and read what the page needs. Raises UserError."""
    info = read_bundle_info(folder)
    try:
        remarks, hashes = check_files(folder), read_sums(folder)
    except BundleError as error:
        raise UserError(str(error)) from error
    missing = [name for name in (MODEL, TOKENIZER) if name not in hashes]
    if missing:
        raise UserError(f"{folder}: SHA256SUMS does not list {missing[0]}; {COPY_AGAIN}")
    if info.golden_terms is not None and info.golden_terms.model_sha256 != hashes[MODEL]:
        raise UserError(f"{folder}: {MODEL} is another model than that of bundle.json; {COPY_AGAIN}")
    path = folder / TOKENIZER
    try:
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
        template = template_of(tokenizer, takes_pairs=info.takes_pairs)
    except (KeyboardInterrupt, SystemExit, MemoryError, OSError):
        raise
    except BaseException as error:  # the library raises a bare Exception, or a panic
        raise UserError(f"{path}: tokenizers cannot use it ({first_line(error)}); {COPY_AGAIN}") from error
    num_special = sum(len(part.get("ids", ())) for part in template)
    if info.max_length < num_special:
        raise UserError(
            f"{folder}: limits.max_length in bundle.json: got {info.max_length}; expected at least {num_special}, the "
            "number of special tokens"
        )
    return DemoBundle(folder=folder, info=info, hashes=hashes, template=template, remarks=remarks)


def template_of(tokenizer: Tokenizer, *, takes_pairs: bool) -> list[dict[str, Any]]:
    """Where a tokenizer puts special tokens, in order of the positions.

    A part is {"sequence": 0 or 1, "type": token type} for the tokens of a text, or {"ids", "types"} for special tokens.
    It is the same for all texts. Reading it off an encoding covers every post-processor, whatever its settings.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in TEXTS:
        encoding = tokenizer.encode(text, text if takes_pairs else None)
        parts = _parts(encoding)
        if [part["sequence"] for part in parts if "sequence" in part] == [0, 1][: 1 + takes_pairs]:
            return parts
    raise UserError("it makes no tokens of ordinary texts")


def _parts(encoding: Encoding) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for token, kind, sequence in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
        if sequence is not None:
            if not parts or parts[-1].get("sequence") != sequence:
                parts.append({"sequence": sequence, "type": kind})
            continue
        if not parts or "ids" not in parts[-1]:
            parts.append({"ids": [], "types": []})
        parts[-1]["ids"].append(token)
        parts[-1]["types"].append(kind)
    return parts
