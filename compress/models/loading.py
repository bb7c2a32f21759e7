"""Loading and saving models and their tokenizers, from a local folder, an installed package or the Hub."""

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
    """The tokenizer of a model, fast (Rust) or refused: the bundle is built from its tokenizer.json."""
    tokenizer = _load(AutoTokenizer, name)
    rows = read_config(name).get("vocab_size")
    if rows is not None and len(tokenizer) > rows:
        raise UserError(
            f"{name}: its tokenizer has {len(tokenizer)} pieces, its embedding {rows} rows; expected no more pieces "
            "than rows; put the tokenizer there that the model was trained with"
        )
    if not len(tokenizer.get_vocab()) > len(tokenizer.all_special_tokens):
        raise UserError(f"{name}: there is no tokenizer beside the model; expected tokenizer.json, or vocab.txt")
    if not tokenizer.is_fast:
        raise UserError(f"{name}: {type(tokenizer).__name__} has no tokenizer.json form, which a bundle needs")
    return tokenizer


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 over all that decides how texts become tokens: two tokenizers with the same are equal."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    decisive = {name: content[name] for name in ("normalizer", "pre_tokenizer", "model", "post_processor")}
    decisive["added_tokens"] = [(token["id"], token["content"]) for token in content["added_tokens"]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def require_equal_tokenizers(*names: str) -> None:
    """Layers are compared token by token: raises UserError unless all these models' tokenizers are the same."""
    hashes = {name: tokenizer_hash(load_tokenizer(name)) for name in names}
    first = next(iter(hashes))
    for name, found in hashes.items():
        if found != hashes[first]:
            raise UserError(
                f"{name}: its tokenizer is another than that of {first} (sha256 {found[:12]}, {hashes[first][:12]}); "
                "layers are compared token by token: name models that share one"
            )


def load_encoder(name: str) -> PreTrainedModel:
    """The encoder alone, float32, in eval mode."""
    return _load_weights(AutoModel, name).eval()


def load_classifier(
    name: str, labels: tuple[str, ...] | None = None, *, task_type: TaskTypeName | None = None
) -> PreTrainedModel:
    """The encoder with the head of its task, float32, in eval mode.

    With `labels` the checkpoint need not be fine-tuned: a missing head starts from random weights. `task_type`: of
    these labels; without them, config.json says it.
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
    """The encoder with its masked-language-model head, float32, in eval mode.

    With `new_head` the checkpoint need not have one: it then starts from random weights. Raises UserError where there
    is none, or the tokenizer has no mask.
    """
    if load_tokenizer(name).mask_token_id is None:
        raise UserError(
            f"{name}: its tokenizer has no mask token; expected a masked language model", option="masked_lm"
        )
    if not new_head:
        require_masked_lm_head(name)
    return _load_weights(AutoModelForMaskedLM, name, with_head=not new_head).eval()


def label_names_of_model(model: PreTrainedModel) -> tuple[str, ...]:
    """The model's class names in the order of its logits."""
    names: Any = model.config.id2label
    return tuple(names[index] for index in range(len(names)))


def num_parameters(model: torch.nn.Module) -> int:
    """How many weights the model has, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: config, safetensors weights and tokenizer."""
    model.config._attn_implementation = "sdpa"
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _load_weights(loader: Any, name: str, *, with_head: bool = False, **options: object) -> Any:
    """In float32, from safetensors alone: loading a pickle can run what is in it.

    The library draws at random what the file lacks. A head may be drawn, and a pooler, unless `with_head`; no more.
    """
    folder = Path(locate(name))
    pickled = sorted(folder.glob("pytorch_model*.bin")) if folder.is_dir() else []
    if pickled and not any(folder.glob("model*.safetensors")):
        raise UserError(
            f"{name}: got pickled weights ({pickled[0].name}), which can run code when loaded; expected "
            "model.safetensors; if you trust the file, load it in transformers and save it with save_pretrained"
        )
    model, told = _load(loader, name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options)
    encoder = "" if loader is AutoModel else f"{model.base_model_prefix}."
    drawn = sorted(
        key for key in told["missing_keys"] if with_head or (key.startswith(encoder) and "pooler" not in key)
    )
    if drawn:
        raise UserError(
            f"{name}: its weights lack {len(drawn)} of those that config.json promises, the first {drawn[0]}; "
            "expected the whole model; copy or export it again"
        )
    broken = next((key for key, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
    if broken is not None:
        raise UserError(f"{name}: the weight {broken} holds NaN or infinity; expected finite numbers; train it anew")
    return model


def _load(loader: Any, name: str, **options: object) -> Any:
    place = locate(name)
    # its loading report lists the missing head of every checkpoint that was not fine-tuned, as it should be
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return loader.from_pretrained(place, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{name}: no model could be loaded from there ({reason})") from error
    finally:
        logging.set_verbosity(verbosity)
