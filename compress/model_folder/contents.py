"""Recognises the content of a model's folder and of its files. Loads neither torch nor transformers."""

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from compress.common.errors import UserError, library_errors
from compress.common.files import LFS_POINTER

NUM_FIRST_BYTES = 512
MAX_JSON_BYTES = 32_000_000  # the largest vocabularies have 20 MB; much larger files would fill the memory
MODEL_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin")
OTHER_FORMATS = {  # weights that cannot be read here, and the remedy
    "*.gguf": "GGUF weights, which are quantised; name the original model",
    "*.ggml": "GGML weights, which are quantised; name the original model",
    "tf_model*.h5": "TensorFlow weights; save them as safetensors with a version 4 of transformers (from_tf=True)",
    "*.ckpt.index": "TensorFlow weights; convert them with a version 4 of transformers",
    "flax_model*.msgpack": "Flax weights; save them as safetensors with a version 4 of transformers (from_flax=True)",
    "rust_model.ot": "weights for Rust; name the original model",
    "*.onnx": "an ONNX graph without torch weights; name the model that it was exported from",
    "openvino_*.xml": "an OpenVINO graph without torch weights; name the model that it was exported from",
    "*.tflite": "a TFLite graph without torch weights; name the model that it was exported from",
    "*.mlpackage": "a Core ML model without torch weights; name the model that it was converted from",
    "*.ckpt": "a training checkpoint; load it in the program that wrote it, and call save_pretrained of its model",
    "*.pt": "a file of torch.save; load it in the program that wrote it, and call save_pretrained of its model",
    "*.pth": "a file of torch.save; load it in the program that wrote it, and call save_pretrained of its model",
    "model*.*.safetensors": "another variant of the weights; rename the file to model.safetensors",
}
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z")


def describe(folder: Path, *, lacks: str) -> str:
    """The reason why a folder without `lacks` (a file name) holds no model, with a remedy."""
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "the folder is empty"
    if "adapter_config.json" in names:
        return _adapter(folder)
    inner = _inner_models(folder)
    if inner:
        return f"{lacks} is missing, but {inner[-1]} holds a model; name that folder"
    for pattern, content in OTHER_FORMATS.items():
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if matching:
            return f"{lacks} is missing; {matching[0]} holds {content}"
    return f"{lacks} is missing; the folder has {_first(names)}"


def require_no_adapter(folder: Path) -> None:
    """Raise UserError if the folder holds an adapter, which would have to be added to other weights."""
    if (folder / "adapter_config.json").is_file():
        raise UserError(_adapter(folder))


def require_regular_files(folder: Path) -> None:
    """Raise UserError if the folder holds a pipe or a device, which could block, or a link to a missing file."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists() and path.suffix in MODEL_SUFFIXES:
            raise UserError(f"{path.name} is a link to a missing file; copy or download the model again")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path.name} is a pipe, a socket or a device; expected a regular file")


def describe_file(path: Path) -> str:
    """The reason why a path to a file names no model, with a remedy."""
    if path.suffix.lower() in ARCHIVES:
        return f"got an archive ({path.name}); unpack it, and name the folder"
    for pattern, content in OTHER_FORMATS.items():
        if fnmatchcase(path.name, pattern) and not path.name.endswith((".pt", ".pth", ".safetensors")):
            return f"got a file; it holds {content}"
    return f"got a file; name the folder that holds it ({path.parent})"


def problem_of_file(path: Path) -> str | None:
    """The reason why a file has not the content that its name promises; None if nothing is wrong at first sight."""
    with path.open("rb") as file:
        first = file.read(NUM_FIRST_BYTES)
    if not first:
        return f"{path.name} is empty; copy or download it again"
    if first.startswith(LFS_POINTER):
        return f"{path.name} is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder"
    if re.match(rb"\s*<(!doctype|html|head|\?xml)", first, re.IGNORECASE):
        return f"{path.name} is a web page, probably an error page of a download; download the file again"
    return None


def problem_of_size(path: Path, most: int = MAX_JSON_BYTES) -> str | None:
    """The reason why a file is too large to be read whole; None if it is not."""
    size = path.stat().st_size
    return None if size <= most else f"{path.name} has {size:,} bytes; expected at most {most:,}"


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError with the file's name, not its folder, for other content."""
    problem = problem_of_file(path) or problem_of_size(path)
    if problem is not None:
        raise UserError(problem)
    with library_errors(f"{path.name} is not UTF-8", advice="copy or export the model again"):
        text = path.read_bytes().decode("utf-8-sig")
    with library_errors(f"{path.name} is not JSON", advice="copy or export the model again"):
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    if not isinstance(content, dict):
        raise UserError(f"{path.name} holds a {type(content).__name__}; expected an object with keys and values")
    return content


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content and content[key] != value:
            raise ValueError(f"it has the key {key!r} twice, with different values")
        content[key] = value
    return content


def _adapter(folder: Path) -> str:
    try:
        config = read_json_object(folder / "adapter_config.json")
    except UserError:
        config = {}
    base = config.get("base_model_name_or_path") or "another model"
    return (
        f"it holds an adapter ({config.get('peft_type') or 'PEFT'}) of {base}, not a whole model; merge it with PEFT's "
        "merge_and_unload(), and save the result with save_pretrained"
    )


def _inner_models(folder: Path) -> list[str]:
    """The folders in the folder that hold a model: of checkpoints, that with the most steps is the last."""
    names = [path.parent.name for path in folder.glob("*/config.json")]
    return sorted(names, key=lambda name: (int((re.findall(r"\d+$", name) or ["0"])[0]), name))


def _first(entries: Sequence[str]) -> str:
    return ", ".join(entries[:5]) + (", ..." if entries[5:] else "")
