"""Loads models and tokenizers from a local folder, an installed package or the Hub, and saves them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from compress.common.errors import UserError
from compress.data import task_types
from compress.data.task_types import TaskTypeName
from compress.models.sources import is_classifier, locate, read_config, require_masked_lm_head, task_type_of


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model. Raises UserError unless it is a fast one, which bundles need."""
    tokenizer = _load(AutoTokenizer, name)
    num_rows = read_config(name).get("vocab_size")
    if num_rows is not None and len(tokenizer) > num_rows:
        raise UserError(
            f"{name}: its tokenizer has {len(tokenizer)} tokens, but its embedding has {num_rows} rows; replace the "
            "tokenizer by the one that the model was trained with"
        )
    if not len(tokenizer.get_vocab()) > len(tokenizer.all_special_tokens):
        raise UserError(f"{name}: the model comes without a tokenizer; expected tokenizer.json or vocab.txt")
    if not tokenizer.is_fast:
        raise UserError(f"{name}: {type(tokenizer).__name__} cannot be saved as tokenizer.json, which a bundle needs")
    return tokenizer


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """The SHA-256 of everything in a tokenizer that affects its tokens. Tokenizers with equal hashes are equivalent."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    relevant = {name: content[name] for name in ("normalizer", "pre_tokenizer", "model", "post_processor")}
    relevant["added_tokens"] = [(token["id"], token["content"]) for token in content["added_tokens"]]
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def require_equal_tokenizers(*names: str) -> None:
    """Raise UserError unless these models have equivalent tokenizers. Layer-wise losses compare token by token."""
    hashes = {name: tokenizer_hash(load_tokenizer(name)) for name in names}
    first = next(iter(hashes))
    for name, hash_ in hashes.items():
        if hash_ != hashes[first]:
            raise UserError(
                f"{name}: its tokenizer differs from that of {first} (sha256 {hash_[:12]}, {hashes[first][:12]}); "
                "layers are compared token by token, so name models with the same tokenizer"
            )


def load_encoder(name: str) -> PreTrainedModel:
    """Load the encoder without a head, in float32 and eval mode."""
    return _load_weights(AutoModel, name).eval()


def load_classifier(
    name: str, labels: tuple[str, ...] | None = None, *, task_type: TaskTypeName | None = None
) -> PreTrainedModel:
    """Load the encoder with a classification or regression head, in float32 and eval mode. Raises UserError.

    Without `labels`, the checkpoint must be fine-tuned, and config.json determines the task type. With `labels`, a
    missing head gets random weights. `task_type`: the type of `labels`.
    """
    if labels is None:
        if not is_classifier(name):
            raise UserError(
                f"{name}: not a fine-tuned classifier (its config.json names no ...ForSequenceClassification)",
                option="model",
            )
        return _load_weights(task_types.task_type(task_type_of(name)).model_class(), name, with_head=True).eval()
    assert task_type is not None
    names: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return _load_weights(task_types.task_type(task_type).model_class(), name, **names).eval()


def load_masked_lm(name: str, *, new_head: bool = False) -> PreTrainedModel:
    """Load the encoder with its masked-language-model head, in float32 and eval mode.

    `new_head`: a missing head gets random weights. Otherwise raises UserError if the head is missing. Also raises
    UserError if the tokenizer has no mask token.
    """
    if load_tokenizer(name).mask_token_id is None:
        raise UserError(
            f"{name}: its tokenizer has no mask token; expected a masked language model", option="masked_lm"
        )
    if not new_head:
        require_masked_lm_head(name)
    return _load_weights(AutoModelForMaskedLM, name, with_head=not new_head).eval()


def label_names_of_model(model: PreTrainedModel) -> tuple[str, ...]:
    """The label names of a model in the order of its logits."""
    names: Any = model.config.id2label
    return tuple(names[index] for index in range(len(names)))


def num_parameters(model: torch.nn.Module) -> int:
    """The number of weights of a model. Shared weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: config, safetensors weights and tokenizer."""
    model.config._attn_implementation = "sdpa"
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load_weights(loader: Any, name: str, *, with_head: bool = False, **options: object) -> Any:
    """Load a model in float32, from safetensors only, because loading a pickle can run code in it.

    transformers initialises missing weights at random. Raises UserError if weights are missing, except those of a head
    or pooler. `with_head`: the head and the pooler are required too.
    """
    folder = Path(locate(name))
    pickled = sorted(folder.glob("pytorch_model*.bin")) if folder.is_dir() else []
    if pickled and not any(folder.glob("model*.safetensors")):
        raise UserError(
            f"{name}: got pickled weights ({pickled[0].name}), which can run code when loaded; expected "
            "model.safetensors; if you trust the file, load it in transformers and save it with save_pretrained"
        )
    model, info = _load(loader, name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options)
    encoder = "" if loader is AutoModel else f"{model.base_model_prefix}."
    missing = sorted(
        key for key in info["missing_keys"] if with_head or (key.startswith(encoder) and "pooler" not in key)
    )
    if missing:
        raise UserError(
            f"{name}: its weights lack {len(missing)} of those that config.json requires, such as {missing[0]}; copy "
            "or export the whole model again"
        )
    broken = next((key for key, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
    if broken is not None:
        raise UserError(f"{name}: the weight {broken} contains NaN or infinity; expected finite numbers")
    return model


def _load(loader: Any, name: str, **options: object) -> Any:
    source = locate(name)
    # hides the loading report, which warns of the missing head of every checkpoint that was not fine-tuned
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return loader.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{name}: no model could be loaded ({reason})") from error
    finally:
        logging.set_verbosity(verbosity)
