"""Checks the values in config.json that change the function of a model. Imports neither torch nor transformers.

transformers 5 ignores some of these keys without a message, although version 4 or custom code used them. The model
would load and compute something else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compress.common.errors import UserError

BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
FAMILIES = (*BERT_LIKE, "albert", "distilbert", "modernbert")
MAX_SIZE, MAX_LAYERS = 10_000_000, 1000  # far above every encoder; larger values would fill the memory
SIZES = (
    "vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "type_vocab_size", "embedding_size", "dim", "hidden_dim", "n_heads", "num_hidden_groups", "inner_group_num",
    "local_attention",
)  # fmt: skip
LAYERS = ("num_hidden_layers", "n_layers")
EPSILONS = ("layer_norm_eps", "norm_eps")
RATES = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "classifier_dropout_prob", "dropout",
    "attention_dropout", "seq_classif_dropout", "embedding_dropout", "mlp_dropout", "summary_last_dropout",
)  # fmt: skip
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation", "classifier_activation")
SAME_NAMES = {  # of DistilBERT: the key in its config.json, and the general name, which means the same
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "dim": "hidden_size",
}
# Keys that change the speed or the form of the outputs, but no value. Every caller sets them itself.
NO_EFFECT = (
    "chunk_size_feed_forward", "return_dict", "use_return_dict", "output_hidden_states", "output_attentions",
    "torchscript", "dtype", "torch_dtype", "use_bfloat16", "attn_implementation", "_attn_implementation",
    "_attn_implementation_autoset", "gradient_checkpointing", "use_cache",
)  # fmt: skip
Number = int | float


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """One key: the model types for which it is checked, its harmless values, and the effect of other values."""

    key: str
    is_harmless: Callable[[Any], bool]
    effect: str
    families: tuple[str, ...] = FAMILIES


def _is_unset(value: object) -> bool:
    return value is None or value is False or value == {} or value == []


def _has_no_adapters(value: object) -> bool:
    inner = [value.get(key) for key in ("adapters", "fusions")] if isinstance(value, dict) else [value]
    return all(map(_is_unset, inner))


_OTHER_POSITIONS = "this version of transformers has absolute positions only"
_DECODER = "the model is a decoder; expected an encoder"
RULES = (
    _Rule(
        key="position_embedding_type",
        is_harmless=lambda value: value in (None, "absolute"),
        effect=_OTHER_POSITIONS,
        families=(*BERT_LIKE, "albert", "distilbert"),
    ),
    *(
        _Rule(key=key, is_harmless=_is_unset, effect=_OTHER_POSITIONS, families=(*BERT_LIKE, "albert", "distilbert"))
        for key in ("rope_scaling", "rope_theta", "rope_parameters", "rotary_emb_fraction", "alibi_starting_size")
    ),
    *(
        _Rule(key=key, is_harmless=_is_unset, effect=_DECODER)
        for key in ("is_decoder", "add_cross_attention", "is_encoder_decoder")
    ),
    _Rule(key="pruned_heads", is_harmless=_is_unset, effect="this version of transformers cannot remove heads"),
    _Rule(
        key="quantization_config",
        is_harmless=_is_unset,
        effect="the weights are quantised; name the original model, with weights in float32, float16 or bfloat16",
    ),
    _Rule(
        key="auto_map",
        is_harmless=_is_unset,
        effect="the model has code of its own, which is not run; if it computes the same as transformers' class for "
        "this model_type, remove auto_map",
    ),
    _Rule(
        key="adapters",
        is_harmless=_has_no_adapters,
        effect="the model has adapters; merge them into the weights, and save the model again",
    ),
    _Rule(
        key="transformers_weights",
        is_harmless=lambda value: value in (None, "model.safetensors"),
        effect="the weights have another name; rename the file to model.safetensors",
    ),
    *(
        _Rule(key=key, is_harmless=_is_unset, effect="it changes the function of the model, and is not supported")
        for key in ("fusion_config", "per_layer_config", "pre_norm", "use_pre_layer_norm", "use_rms_norm")
    ),
)


def with_checked_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a config.json without keys that have no effect on a model's values.

    Raises UserError for a value that is no number where one is expected, and for one that transformers would ignore
    although it changes the function of the model.
    """
    config = {key: value for key, value in config.items() if key not in NO_EFFECT}
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise UserError(f"model_type is {model_type!r}; expected the name of an architecture, such as bert")
    architectures = config.get("architectures")
    if isinstance(architectures, str):
        config["architectures"] = [architectures]
    elif architectures is not None and not _is_list_of_text(architectures):
        raise UserError(f"architectures is {architectures!r}; expected a list of class names")
    if model_type in FAMILIES:
        _check_numbers(config, model_type)
        for rule in RULES:
            value = config.get(rule.key)
            if model_type in rule.families and not rule.is_harmless(value):
                raise UserError(f"{rule.key} is {_short(value)}: {rule.effect}")
    return config


def _check_numbers(config: Mapping[str, Any], model_type: str) -> None:
    for key in (*SIZES, *LAYERS):
        if key in config:
            _check_integer(key, config[key], at_most=MAX_LAYERS if key in LAYERS else MAX_SIZE)
    for key in EPSILONS:
        if key in config:
            _check_real(key, config[key], lambda value: 0 < value < 1, "a number above 0 and below 1, such as 1e-12")
    for key in RATES:
        if config.get(key) is not None:
            _check_real(key, config[key], lambda value: 0 <= value <= 1, "a number from 0 to 1")
    for key in ACTIVATIONS:
        if key in config and not isinstance(config[key], str):
            raise UserError(f"{key} is {config[key]!r}; expected the name of an activation, such as gelu")
    padding = config.get("pad_token_id")
    needs_padding = model_type in ("roberta", "xlm-roberta", "camembert")  # positions follow the padding index
    if "pad_token_id" in config and (padding is not None or needs_padding):
        vocab_size = config.get("vocab_size", MAX_SIZE)
        if not isinstance(padding, int) or isinstance(padding, bool) or not 0 <= padding < vocab_size:
            raise UserError(f"pad_token_id is {padding!r}; expected a token id from 0 to {vocab_size - 1}")
    for key, general in SAME_NAMES.items():
        if model_type == "distilbert" and general in config and config.get(key) != config[general]:
            raise UserError(
                f"{key} is {config.get(key)!r}, but {general} is {config[general]!r}; expected equal values"
            )
    width, heads = (
        config.get("dim", config.get("hidden_size")),
        config.get("n_heads", config.get("num_attention_heads")),
    )
    if width is not None and heads is not None and width % heads:
        raise UserError(f"the width {width} is not a multiple of the {heads} attention heads")


def _check_integer(key: str, value: object, *, at_most: int) -> None:
    if not _is_integer(value) or not 1 <= value <= at_most:  # type: ignore[operator]
        raise UserError(f"{key} is {_short(value)}; expected a whole number from 1 to {at_most}")


def _check_real(key: str, value: object, is_valid: Callable[[Number], bool], expected: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not is_valid(value):  # type: ignore[arg-type]
        raise UserError(f"{key} is {_short(value)}; expected {expected}")


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: object) -> str:
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:80]}..."
