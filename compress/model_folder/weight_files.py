"""Reads the weights of a model: safetensors, or else `pytorch_model.bin` without running code. Loads torch lazily."""

import pickle
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.common.errors import UserError, library_errors
from compress.model_folder.contents import problem_of_file, read_json_object

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_FILES = (  # in order of preference; an index names the files of its shards
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
COPY_AGAIN = "copy or download the file again"
SAVE_WEIGHTS = "load it in the program that wrote it, and call save_pretrained of its model"


def weight_files(find: Callable[[str], Path | None]) -> list[Path]:
    """The files with the weights of a model, one per shard; empty if there are none.

    `find`: the path of a file of the model by its name; None if there is no such file. Raises UserError if a shard is
    missing.
    """
    for name in WEIGHT_FILES:
        path = find(name)
        if path is None:
            continue
        return [path] if not name.endswith(".json") else _shards(path, find)
    return []


def read_weights(files: Sequence[Path]) -> dict[str, "Tensor"]:
    """The weights in all files by name.

    Raises UserError for a damaged file, for content other than weights, and for a weight in two files. No code of a
    pickle runs.
    """
    weights: dict[str, Tensor] = {}
    for file in files:
        problem = problem_of_file(file)
        if problem is not None:
            raise UserError(problem)
        read = _read_safetensors if file.suffix == ".safetensors" else _read_pickle
        for name, tensor in read(file).items():
            if name in weights:
                raise UserError(f"the weight {name} is in two files, the second is {file.name}; expected it once")
            weights[name] = tensor
    if not weights:
        raise UserError(f"{files[0].name} holds no weights; copy or export the model again")
    return weights


def _shards(index: Path, find: Callable[[str], Path | None]) -> list[Path]:
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise UserError(f"{index.name} has no weight_map from weights to files; copy or export the model again")
    names = sorted(set(weight_map.values()))
    if any(Path(name).name != name for name in names):
        raise UserError(f"{index.name} names a file in another folder ({names[0]}); expected names without a path")
    paths = {name: find(name) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise UserError(
            f"{index.name} names {len(names)} files, but {len(missing)} are missing, such as {missing[0]}; copy the "
            "whole model again"
        )
    return [path for path in paths.values() if path is not None]


def _read_safetensors(file: Path) -> dict[str, "Tensor"]:
    from safetensors.torch import load_file

    with library_errors(f"{file.name} is damaged or cut off", advice=COPY_AGAIN):
        return load_file(file)


def _read_pickle(file: Path) -> dict[str, "Tensor"]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the protocol of the pickle
            content = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        if not isinstance(error, pickle.UnpicklingError) or not _is_pickle(file):
            raise UserError(f"{file.name} is damaged or cut off, or no file of torch.save; {COPY_AGAIN}") from error
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        objects = f"other objects ({named[1]})" if named else "other objects"
        raise UserError(
            f"got pickled weights ({file.name}) with {objects}, which can run code when loaded; nothing was run; "
            f"expected weights only, as in model.safetensors; if you trust the file, {SAVE_WEIGHTS}"
        ) from error
    return _only_weights(content, file)


def _is_pickle(file: Path) -> bool:
    """Whether a file begins like a pickle, or like the archive of torch.save."""
    with file.open("rb") as content:
        return content.read(2).startswith((b"PK", b"\x80"))


def _only_weights(content: object, file: Path) -> dict[str, "Tensor"]:
    """The content of a pickle, if it is a dict of weights. Raises UserError otherwise."""
    from torch import Tensor

    if not isinstance(content, dict):
        raise UserError(f"{file.name} holds a {type(content).__name__}, not weights by name; {SAVE_WEIGHTS}")
    other = next(
        (key for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)), None
    )
    if other is not None:
        keys = ", ".join(map(str, list(content)[:5])) + (", ..." if len(content) > 5 else "")
        raise UserError(
            f"{file.name} is a checkpoint of a training program with the keys {keys}, not weights by name; "
            f"{SAVE_WEIGHTS}"
        )
    return content
