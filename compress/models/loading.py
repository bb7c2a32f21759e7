"""Loads models and tokenizers from a local folder, an installed package or the Hub, and saves them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from compress.common.errors import UserError, library_errors
from compress.data import task_types
from compress.data.task_types import TaskTypeName
from compress.model_folder.tokenizer_checks import (
    check_against_file,
    check_tokenizer,
    check_tokenizer_files,
    probe_tokenizer,
)
from compress.models.sources import find_file, is_classifier, locate, read_config, require_masked_lm_head, task_type_of
from compress.models.weight_loading import LoadedModel, config_of, load_model, quiet_transformers

COPY_TOKENIZER = "copy the tokenizer again, or save it with the installed version of transformers"
Head = Literal["none", "classifier", "new classifier", "masked_lm", "new masked_lm"]


def check_model(
    name: str,
    *,
    head: Head,
    labels: tuple[str, ...] | None = None,
    task_type: TaskTypeName = "classification",
    takes_pairs: bool = False,
) -> list[str]:
    """Check a model's config.json, its tokenizer and its weights: their names, shapes and values.

    `head`: as it will be loaded. `labels` and `task_type`: of a new classifier. `takes_pairs`: whether it gets pairs of
    texts. Returns remarks on how the files were read. Raises UserError.
    """
    match head:
        case "none":
            loaded = load_model(AutoModel, name, with_head=False, shapes_only=True)
        case "classifier":
            loaded = _classifier(name, None, None, shapes_only=True)
        case "new classifier":
            loaded = _classifier(name, labels, task_type, shapes_only=True)
        case "masked_lm" | "new masked_lm":
            loaded = _masked_lm(name, new_head=head == "new masked_lm", shapes_only=True)
    tokenizer = load_tokenizer(name)
    try:
        tokenizer_file = find_file(name, "tokenizer.json")
        if tokenizer_file is not None:
            check_against_file(tokenizer, tokenizer_file)
        probe_tokenizer(tokenizer, read_config(name), takes_pairs=takes_pairs)
    except UserError as error:
        raise error.within(name) from error
    return [f"{name}: {remark}" for remark in loaded.remarks]


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model. Raises UserError unless it is a fast one, which bundles need."""
    source, config = locate(name), config_of(name)
    config.name_or_path = source
    try:
        if Path(source).is_dir():
            check_tokenizer_files(Path(source))
        with library_errors("its tokenizer could not be loaded", advice=COPY_TOKENIZER), quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, config=config, trust_remote_code=False)
        check_tokenizer(tokenizer, read_config(name))
    except UserError as error:
        raise error.within(name) from error
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
    return load_model(AutoModel, name, with_head=False).model.eval()


def load_classifier(
    name: str, labels: tuple[str, ...] | None = None, *, task_type: TaskTypeName | None = None
) -> PreTrainedModel:
    """Load the encoder with a classification or regression head, in float32 and eval mode. Raises UserError.

    Without `labels`, the checkpoint must be fine-tuned, and config.json determines the task type. With `labels`, a
    missing head gets random weights. `task_type`: the type of `labels`.
    """
    return _classifier(name, labels, task_type).model.eval()


def _classifier(
    name: str, labels: tuple[str, ...] | None, task_type: TaskTypeName | None, *, shapes_only: bool = False
) -> LoadedModel:
    if labels is None:
        if not is_classifier(name):
            raise UserError(
                f"{name}: not a fine-tuned classifier (its config.json names no ...ForSequenceClassification)",
                option="model",
            )
        model_class = task_types.task_type(task_type_of(name)).model_class()
        return load_model(model_class, name, with_head=True, shapes_only=shapes_only)
    assert task_type is not None
    model_class = task_types.task_type(task_type).model_class()
    return load_model(model_class, name, with_head=False, labels=labels, shapes_only=shapes_only)


def load_masked_lm(name: str, *, new_head: bool = False) -> PreTrainedModel:
    """Load the encoder with its masked-language-model head, in float32 and eval mode.

    `new_head`: a missing head gets random weights. Otherwise raises UserError if the head is missing. Also raises
    UserError if the tokenizer has no mask token.
    """
    return _masked_lm(name, new_head=new_head).model.eval()


def _masked_lm(name: str, *, new_head: bool, shapes_only: bool = False) -> LoadedModel:
    if load_tokenizer(name).mask_token_id is None:
        raise UserError(
            f"{name}: its tokenizer has no mask token; expected a masked language model", option="masked_lm"
        )
    if not new_head:
        require_masked_lm_head(name)
    return load_model(AutoModelForMaskedLM, name, with_head=not new_head, shapes_only=shapes_only)


def label_names_of_model(model: PreTrainedModel) -> tuple[str, ...]:
    """The label names of a model in the order of its logits."""
    names: Any = model.config.id2label
    return tuple(names[index] for index in range(len(names)))


def name_outputs(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Set the label names of a model, in the order of its logits."""
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}


def num_parameters(model: torch.nn.Module) -> int:
    """The number of weights of a model. Shared weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_model(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a Hugging Face folder: config, safetensors weights and tokenizer."""
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
