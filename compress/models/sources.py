"""Where models come from, and what identifies them; loads neither torch nor transformers."""

import importlib.util
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from compress.common.errors import UserError
from compress.common.files import files_in, sha256_of_all
from compress.data.task_types import TaskTypeName, type_of_model
from compress.models.architectures import capabilities_of

PACKAGE_PREFIX = "package:"
FILES_WITH_WEIGHTS = ("config.json", "tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model")
NOT_READ = (  # of a model's folder: what loading a model or its tokenizer never looks at
    ".*", "*.md", "LICENSE*", "NOTICE*", "*.partial", "*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot",
    "*.tflite", "*.mlmodel", "*.pt", "*.pth", "*.pkl", "optimizer*", "scheduler*", "rng_state*",
    "trainer_state.json", "training_args.*", "all_results.json",
    "eval_results.*", "train_results.*", "events.out.*", "*.log", "*.png", "*.jpg", "*.svg", "*.html", "*.pdf",
)  # fmt: skip
WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


def locate(name: str) -> str:
    """The folder or Hub name behind `name`; "package:NAME/FOLDER" is a folder inside an installed Python package."""
    if not name.startswith(PACKAGE_PREFIX):
        return name
    package, _, folder = name.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{name}: the package {package!r} is not installed; pip install 'pocketbert[quickstart]' brings those that "
            "built-in recipes name"
        )
    path = Path(spec.submodule_search_locations[0]) / folder
    if not path.is_dir():
        raise UserError(f"{name}: the package {package!r} holds no folder {folder!r}")
    return str(path)


def identity(name: str) -> str:
    """What a stage's fingerprint knows a model by: the content of a local folder, or the name on the Hub.

    Of a folder every file at its top counts but those that loading never reads: a tokenizer's options, added tokens, an
    adapter or custom code change a model's output as its weights do.
    """
    return _identity(name, NOT_READ)


def tokenizer_identity(name: str) -> str:
    """What a fingerprint knows a model's tokenizer by: the files of its folder but the weights, or the Hub's name."""
    return _identity(name, (*NOT_READ, *WEIGHTS))


def _identity(name: str, left_out: tuple[str, ...]) -> str:
    folder = Path(locate(name))
    if not folder.is_dir():
        return f"hub:{name}"
    files = [file for file in folder.iterdir() if file.is_file()]
    read = [file for file in files if not any(fnmatchcase(file.name, pattern) for pattern in left_out)]
    return f"sha256:{sha256_of_all(read)}"


def file_identity(name: str, *, key: str) -> str:
    """What a fingerprint knows a file by, or a folder of data: its content. An archive's member by the archive.

    Raises UserError where there is none; `key` is the recipe's that names it.
    """
    try:
        path = Path(locate(name)).expanduser()
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    inside, _, member = str(path).partition(".zip/")
    if member:
        return f"{file_identity(inside + '.zip', key=key)}/{member}"
    if not path.exists():
        raise UserError(f"{key}: {name}: no such file or folder")
    return f"sha256:{sha256_of_all(files_in(path))}"


def model_files(folder: Path) -> list[Path]:
    """What it takes to load the model, of all that lies in the folder: config, tokenizer, one form of the weights."""
    weights = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    beside = {path for pattern in FILES_WITH_WEIGHTS for path in folder.glob(pattern)}
    return [*weights, *sorted(beside)]


def label_names_in_config(name: str) -> tuple[str, ...]:
    """The class names of a fine-tuned model, in the order of its logits, from its config.json."""
    names = read_config(name).get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
    return tuple(names[index] for index in sorted(names, key=int))


def task_type_of(name: str) -> TaskTypeName:
    """The task type of a fine-tuned model, from its config.json."""
    return type_of_model(read_config(name).get("problem_type"), label_names_in_config(name))


def is_classifier(name: str) -> bool:
    """Whether the model was saved with a sequence classification head."""
    return any("SequenceClassification" in kind for kind in read_config(name).get("architectures") or [])


def has_masked_lm_head(name: str) -> bool:
    """Whether the model was saved with a masked-language-model head."""
    config = read_config(name)
    kinds = ("MaskedLM",) if config["model_type"] == "electra" else ("MaskedLM", "PreTraining")
    return any(kind in saved for saved in config.get("architectures") or [] for kind in kinds)


def require_masked_lm_head(name: str) -> None:
    """Raises UserError where the model was saved without a masked-language-model head."""
    if not has_masked_lm_head(name):
        raise UserError(
            f"{name} ships without a masked-language-model head (its config.json names no ...ForMaskedLM)",
            option="masked_lm_head",
        )


def max_tokens(config: dict[str, Any]) -> int:
    """How many tokens a model has positions for. RoBERTa and its kin begin to count behind the padding index."""
    positions = int(config.get("max_position_embeddings", 512))
    shifted = capabilities_of(config["model_type"]).positions_behind_padding
    return positions - config.get("pad_token_id", 1) - 1 if shifted else positions


def read_config(name: str) -> dict[str, Any]:
    """The model's config.json, from its folder or the Hub. Raises UserError where there is none."""
    folder = Path(locate(name))
    try:
        path = folder / "config.json" if folder.is_dir() else Path(hf_hub_download(name, "config.json"))
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or "model_type" not in config:
            raise ValueError("it names no model_type")
    except Exception as error:  # the Hub's client raises a dozen kinds, all of them about this name or the network
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{name}: no model config could be read from there ({reason[0]})") from error
    return config
