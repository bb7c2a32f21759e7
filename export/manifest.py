"""bundle.json, read without torch or onnxruntime."""

import json
from pathlib import Path
from typing import Any

from compress.errors import UserError

FORMAT_VERSION = 1


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of bundle.json. Raises UserError where the folder is no bundle."""
    try:
        manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is no bundle: its bundle.json cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder}: bundle.json is not of format version {FORMAT_VERSION}; use the PocketBERT that made it"
        )
    return manifest
