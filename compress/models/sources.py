"""The sources of models and their identities. Importing this module loads neither torch nor transformers."""

import importlib.util
import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from compress.common.errors import UserError, library_errors
from compress.common.extras import install_command
from compress.common.files import files_in, sha256_of_all
from compress.data.task_types import TaskTypeName
from compress.model_folder import contents
from compress.model_folder.config_labels import with_label_names
from compress.model_folder.config_rules import with_checked_values
from compress.model_folder.contents import read_json_object
from compress.models import outputs
from compress.models.architectures import capabilities_of

PACKAGE_PREFIX = "package:"
FILES_BESIDES_WEIGHTS = ("config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model")
NOT_READ = (  # files in a model's folder that neither a model nor its tokenizer is loaded from
    ".*", "*.md", "LICENSE*", "NOTICE*", "*.partial", "*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot",
    "*.tflite", "*.mlmodel", "*.pt", "*.pth", "*.pkl", "optimizer*", "scheduler*", "rng_state*",
    "trainer_state.json", "training_args.*", "all_results.json",
    "eval_results.*", "train_results.*", "events.out.*", "*.log", "*.png", "*.jpg", "*.svg", "*.html", "*.pdf",
)  # fmt: skip
LARGEST_LIMIT = 1e20  # tokenizers without a limit have a larger one
WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


def locate(name: str) -> str:
    """Resolve `name` to a folder or a Hub name. "package:NAME/FOLDER" is a folder in an installed Python package."""
    if not name.startswith(PACKAGE_PREFIX):
        return str(Path(name).expanduser()) if name.startswith("~") else name
    package, _, folder = name.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{name}: the package {package!r} is not installed; {install_command('quickstart')} installs the "
            "packages of the built-in recipes"
        )
    path = Path(spec.submodule_search_locations[0]) / folder
    if not path.is_dir():
        raise UserError(f"{name}: the package {package!r} contains no folder {folder!r}")
    return str(path)


def hub_names(names: Iterable[str | None]) -> list[str]:
    """Those of the names that are of models on the Hub, not of folders or of folders in Python packages."""
    return [name for name in dict.fromkeys(names) if name is not None and _is_on_hub(name)]


def _is_on_hub(name: str) -> bool:
    if name.startswith(PACKAGE_PREFIX) or Path(locate(name)).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def identity(name: str) -> str:
    """The identity of a model for fingerprints: the digest of its local folder, or its name on the Hub.

    The digest covers all files directly in the folder, except those that are never loaded. It covers not only the
    weights, because tokenizer options, added tokens, adapters and custom code also change the output of a model.
    """
    return _identity(name, NOT_READ)


def tokenizer_identity(name: str) -> str:
    """The identity of a tokenizer for fingerprints: the digest of a model's folder without weights, or its Hub name."""
    return _identity(name, (*NOT_READ, *WEIGHTS))


def _identity(name: str, excluded: tuple[str, ...]) -> str:
    folder = Path(locate(name))
    if not folder.is_dir():
        return f"hub:{name}"
    files = [file for file in folder.iterdir() if file.is_file()]
    included = [file for file in files if not any(fnmatchcase(file.name, pattern) for pattern in excluded)]
    return f"sha256:{sha256_of_all(included)}"


def file_identity(name: str, *, key: str) -> str:
    """The identity of a file or a folder of data for fingerprints: its digest.

    For a member of a .zip, the digest of the archive and the name of the member. Raises UserError if there is no such
    file. `key`: the recipe key of the file, for error messages.
    """
    try:
        path = Path(locate(name)).expanduser()
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    archive, _, member = str(path).partition(".zip/")
    if member:
        return f"{file_identity(archive + '.zip', key=key)}/{member}"
    if not path.exists():
        raise UserError(f"{key}: {name}: no such file or folder")
    return f"sha256:{sha256_of_all(files_in(path))}"


def model_files(folder: Path) -> list[Path]:
    """The files in the folder that a model is loaded from: config, tokenizer, and one format of the weights."""
    weights = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    others = {path for pattern in FILES_BESIDES_WEIGHTS for path in folder.glob(pattern)}
    return [*weights, *sorted(others)]


def label_names_in_config(name: str) -> tuple[str, ...]:
    """The label names of a fine-tuned model in the order of its logits, from its config.json."""
    return tuple(read_config(name)["id2label"].values())


def task_type_of(name: str) -> TaskTypeName:
    """The task type of a fine-tuned model, from its config.json. Raises UserError for outputs that no bundle has."""
    settings = {file: _read_settings(name, file) for file in outputs.SETTINGS_FILES}
    return outputs.task_type_in(read_config(name), len(label_names_in_config(name)), name=name, settings=settings)


def is_classifier(name: str) -> bool:
    """Whether the model was saved with a sequence classification head."""
    return any("SequenceClassification" in class_name for class_name in read_config(name).get("architectures") or [])


def has_masked_lm_head(name: str) -> bool:
    """Whether the model was saved with a masked-language-model head."""
    config = read_config(name)
    suffixes = ("MaskedLM",) if config["model_type"] == "electra" else ("MaskedLM", "PreTraining")
    return any(suffix in class_name for class_name in config.get("architectures") or [] for suffix in suffixes)


def require_masked_lm_head(name: str) -> None:
    """Raise UserError if the model was saved without a masked-language-model head."""
    if not has_masked_lm_head(name):
        raise UserError(
            f"{name} ships without a masked-language-model head (its config.json names no ...ForMaskedLM)",
            option="masked_lm_head",
        )


def max_tokens(config: dict[str, Any]) -> int:
    """The number of tokens for which a model has positions."""
    return int(config.get("max_position_embeddings", 512)) - first_position(config)


def first_position(config: dict[str, Any]) -> int:
    """The position of a text's first token. In RoBERTa, positions start after the padding index."""
    if not capabilities_of(config["model_type"]).positions_follow_padding:
        return 0
    padding = 1 if config["model_type"] == "mpnet" else config.get("pad_token_id", 1)  # fixed in MPNet
    return int(padding) + 1


def tokenizer_limit(name: str) -> float:
    """The number of tokens at which the model's own tokenizer truncates; infinite if it names none."""
    match _read_settings(name, outputs.TOKENIZER_CONFIG).get("model_max_length"):
        case int(limit) | float(limit) if 1 < limit < LARGEST_LIMIT:
            return limit
    return math.inf


def read_config(name: str) -> dict[str, Any]:
    """Read the config.json of a model, from its folder or the Hub. Raises UserError if that is impossible.

    The label names are a dict from "0" on. Keys without effect on the model's values are left out. Raises UserError too
    for values that transformers would ignore or misread.
    """
    try:
        path = _config_path(name)
        config = read_json_object(path)
        if "model_type" not in config:
            raise UserError(f"{path.name} names no model_type; copy or export the model again")
    except UserError as error:
        raise UserError(f"{name}: no model config could be read ({error})") from error
    try:
        return with_label_names(with_checked_values(config))
    except UserError as error:
        raise UserError(f"{name}: config.json: {error}") from error


def find_file(name: str, file_name: str) -> Path | None:
    """The path of a file of a model, in its folder or downloaded from the Hub; None if the model has no such file."""
    folder = Path(locate(name))
    if folder.is_dir():
        return folder / file_name if (folder / file_name).is_file() else None
    try:
        with library_errors(f"{name}: {file_name} could not be downloaded"):
            return Path(hf_hub_download(name, file_name))
    except UserError as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            return None
        raise


def _read_settings(name: str, file_name: str) -> dict[str, Any]:
    """The content of another JSON file of a model; empty if there is no such file."""
    path = find_file(name, file_name)
    try:
        return {} if path is None else read_json_object(path)
    except UserError as error:
        raise error.within(name) from error


def _config_path(name: str) -> Path:
    """The path of config.json. Raises UserError with the reason why there is none."""
    path = Path(locate(name))
    if path.is_dir():
        contents.require_regular_files(path)
        contents.require_no_adapter(path)
        if not (path / "config.json").is_file():
            raise UserError(contents.describe(path, lacks="config.json"))
        return path / "config.json"
    if path.is_file():
        raise UserError(contents.describe_file(path))
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise UserError("no such folder")
    with library_errors("it is no folder here, and the Hub gave no config.json"):
        return Path(hf_hub_download(name, "config.json"))
