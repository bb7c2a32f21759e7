"""The settings of a model that determine its outputs from the logits. Loads neither torch nor transformers.

A bundle returns the softmax of two or more logits, or a single logit as it is. A model with another function would get
other outputs, so it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compress.common.errors import UserError
from compress.data.task_types import TaskTypeName, type_of_model

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")
CONFIG = "config.json"
CROSS_ENCODER = "config_sentence_transformers.json"  # written by sentence-transformers 5 and later
CROSS_ENCODER_TEXTS = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SETTINGS_FILES = (CROSS_ENCODER, CROSS_ENCODER_TEXTS, TOKENIZER_CONFIG)
RAW = ("identity", "none")
SOFTMAX = ("softmax",)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Activation:
    """A function after the logits, and the key and the file that name it."""

    function: Any
    key: str


def task_type_in(config: Json, num_outputs: int, *, name: str, settings: Mapping[str, Json]) -> TaskTypeName:
    """The task type of the fine-tuned model `name`. Raises UserError if a bundle would return other outputs.

    `config`: the content of its config.json. `settings`: the contents of those of SETTINGS_FILES that it has.
    """
    try:
        _check_problem_type(config.get("problem_type"), num_outputs)
        activation = _activation(config, settings.get(CROSS_ENCODER, {}))
        if activation is not None:
            _check_activation(activation, num_outputs)
        _check_texts(settings)
    except UserError as error:
        raise error.within(name) from None
    return type_of_model(config.get("problem_type"), [""] * num_outputs)


def _check_problem_type(problem_type: Any, num_outputs: int) -> None:
    where = f"{CONFIG} has the problem_type {problem_type!r}"
    match problem_type:
        case "multi_label_classification":
            raise UserError(
                f"{where}: each of its labels has a sigmoid of its own, and a text can have several labels; expected "
                "one label per text; fine-tune a model with single_label_classification",
            )
        case "regression" if num_outputs > 1:
            raise UserError(f"{where} and {num_outputs} outputs; expected one output")
        case "single_label_classification" if num_outputs == 1:
            raise UserError(
                f"{where} and one output; expected two or more outputs; if the output is a value, set problem_type to "
                "regression",
            )
        case None | "single_label_classification" | "regression":
            return
    raise UserError(f"{where}; expected {', '.join(PROBLEM_TYPES)} or no such key")


def _activation(config: Json, cross_encoder: Json) -> _Activation | None:
    """The function that the model's own library applies to the logits; None for the default.

    The first of these keys counts, as in sentence-transformers.
    """
    in_config = config.get("sentence_transformers")
    named = (
        _Activation(cross_encoder.get("activation_fn"), f"activation_fn in {CROSS_ENCODER}"),
        _Activation(
            in_config.get("activation_fn") if isinstance(in_config, Mapping) else None,
            f"sentence_transformers.activation_fn in {CONFIG}",
        ),
        _Activation(
            config.get("sbert_ce_default_activation_function"), f"sbert_ce_default_activation_function in {CONFIG}"
        ),
        _Activation(config.get("function_to_apply"), f"function_to_apply in {CONFIG}"),
    )
    return next((activation for activation in named if activation.function is not None), None)


def _check_activation(activation: _Activation, num_outputs: int) -> None:
    supported = (*RAW, *SOFTMAX) if num_outputs > 1 else RAW
    function = str(activation.function).rpartition(".")[2].lower()
    if function in supported:
        return
    instead = "the softmax of its outputs" if num_outputs > 1 else "its output without an activation"
    raw = "none" if activation.key.startswith("function") else "torch.nn.modules.linear.Identity"
    raise UserError(
        f"got {activation.function!r} as {activation.key}, which a bundle does not apply; it returns {instead}; if "
        f"that is right for you, set the key to {raw!r}",
    )


def _check_texts(settings: Mapping[str, Json]) -> None:
    """Raise UserError for a model whose own library changes the texts first."""
    cross_encoder = settings.get(CROSS_ENCODER, {})
    prompts, prompt_name = cross_encoder.get("prompts"), cross_encoder.get("default_prompt_name")
    prompt = prompts.get(prompt_name) if isinstance(prompts, Mapping) and isinstance(prompt_name, str) else None
    if prompt:
        raise UserError(
            f"{CROSS_ENCODER} puts the prompt {prompt!r} before each text, which a bundle does not do; add it to your "
            "texts and set default_prompt_name to null",
        )
    lower_cases = settings.get(TOKENIZER_CONFIG, {}).get("do_lower_case")
    if settings.get(CROSS_ENCODER_TEXTS, {}).get("do_lower_case") is True and lower_cases is not True:
        raise UserError(
            f"{CROSS_ENCODER_TEXTS} lower-cases the texts, which a bundle does not do; if the tokenizer does it, "
            "set do_lower_case to false",
        )
