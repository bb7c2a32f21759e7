"""Loading and saving models and their tokenizers, from a local folder, an installed package or the Hub."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from compress.errors import UserError
from compress.locations import is_classifier, locate


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, fast (Rust) or refused: the bundle is built from its tokenizer.json."""
    tokenizer = _load(AutoTokenizer, name)
    if not tokenizer.is_fast:
        raise UserError(f"{name}: {type(tokenizer).__name__} has no tokenizer.json form, which a bundle needs")
    return tokenizer


def load_encoder(name: str) -> PreTrainedModel:
    """The encoder alone, float32, in eval mode."""
    return _load(AutoModel, name, dtype=torch.float32).eval()


def load_classifier(name: str, labels: tuple[str, ...] | None = None) -> PreTrainedModel:
    """The encoder with its classification head, float32, in eval mode.

    With `labels` the checkpoint need not be fine-tuned: a missing head starts from random weights.
    """
    if labels is None:
        if not is_classifier(name):
            raise UserError(
                f"{name}: not a fine-tuned classifier (its config.json names no ...ForSequenceClassification); "
                "name it as teacher.base instead, and the teacher is fine-tuned from it"
            )
        return _load(AutoModelForSequenceClassification, name, dtype=torch.float32).eval()
    names = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return _load(AutoModelForSequenceClassification, name, dtype=torch.float32, **names).eval()


def label_names(model: PreTrainedModel) -> tuple[str, ...]:
    """The model's class names in the order of its logits."""
    names: Any = model.config.id2label
    return tuple(names[index] for index in range(len(names)))


def num_parameters(model: torch.nn.Module) -> int:
    """How many weights the model has, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: config, safetensors weights and tokenizer."""
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


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
