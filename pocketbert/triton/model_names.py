"""The names of Triton models: folder names, parts of addresses, and for Kubernetes labels."""

import re
from collections.abc import Sequence
from pathlib import Path

from compress.common.errors import UserError
from compress.common.wording import short_name
from export.bundle.bundle_json import BundleInfo

MOST_LETTERS = 100
ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
GPU_SUFFIX = "_model"
SERVICE = "pocketbert"


def model_names(bundles: Sequence[tuple[Path, BundleInfo]], given: Sequence[str]) -> list[str]:
    """A name for each bundle: the given one, or that of the bundle with its variant.

    Raises UserError for a name that Triton cannot have, and for one that occurs twice. File systems may ignore case, so
    that does not distinguish two names. `NAME_model` is the name of another model of the same bundle.
    """
    if given and len(given) != len(bundles):
        raise UserError(f"--name: got {len(given)} names for {len(bundles)} bundles; give one for each, in their order")
    names = list(given) or [_name_of(folder, info) for folder, info in bundles]
    owners: dict[str, Path] = {}
    for name, (folder, _) in zip(names, bundles, strict=True):
        if ALLOWED.fullmatch(name) is None or len(name) > MOST_LETTERS or name.lower().endswith(GPU_SUFFIX):
            raise UserError(
                f"{folder}: got the name {short_name(name)!r}; expected at most {MOST_LETTERS} of A-Z, a-z, 0-9, ., _ "
                f"and -, with a letter or a digit first, and without {GPU_SUFFIX} at the end; choose one with --name"
            )
        if name.lower() in owners:
            raise UserError(
                f"{owners[name.lower()]} and {folder}: both have the name {name}; give each bundle another --name"
            )
        owners[name.lower()] = folder
    return names


def service_name(names: Sequence[str]) -> str:
    """The name of a Kubernetes service: that of the only model if a label can have it."""
    first, *others = names
    label = re.sub(r"[^a-z0-9]+", "-", first.lower())[:40].strip("-")
    return label if not others and re.match(r"[a-z]", label) else SERVICE


def _name_of(folder: Path, info: BundleInfo) -> str:
    """Such as `reviews-int8-static`."""
    if re.search(r"[A-Za-z0-9]", info.name) is None:
        raise UserError(f"{folder}: its name {short_name(info.name)!r} has no Latin letter; choose one with --name")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{info.name}-{info.variant}").strip("-._")[:MOST_LETTERS]
