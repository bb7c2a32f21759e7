"""Loads the weights of a model, and accounts for each of them: used, known to be unused, or reported."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from compress.common.errors import UserError, library_errors
from compress.model_folder import contents
from compress.model_folder.weight_files import read_weights, weight_files
from compress.model_folder.weight_names import with_usual_names
from compress.models.sources import find_file, locate, read_config

BUFFERS = ("position_ids", "token_type_ids", "inv_freq")  # computed anew; old versions of transformers saved them
LAYER, GROUP, INNER_LAYER = r"\.?layers?\.(\d+)\.", r"layer_groups\.(\d+)\.", r"albert_layers\.(\d+)\."
MANY_LAYERS, MANY_WEIGHTS = 100, 50_000_000  # fewer are compared with the weights after the model has been built
HEADS = (  # of other tasks
    "classifier.", "cls.", "decoder.", "discriminator_predictions.", "generator_lm_head.", "generator_predictions.",
    "head.", "lm_head.", "lm_predictions.", "mask_predictions.", "pooler.", "pre_classifier.", "predictions.",
    "qa_outputs.", "score.", "sop_classifier.", "vocab_layer_norm.", "vocab_projector.", "vocab_transform.",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model in float32. `remarks`: how its files were read, one line each."""

    model: Any
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _LoadingInfo:
    """The report of transformers: names of weights. `mismatched`: with the shapes in the file and in the model."""

    missing: frozenset[str]
    unexpected: frozenset[str]
    mismatched: frozenset[tuple[str, tuple[int, ...], tuple[int, ...]]]


def load_model(
    loader: Any,
    name: str,
    *,
    with_head: bool,
    labels: tuple[str, ...] | None = None,
    shapes_only: bool = False,
) -> LoadedModel:
    """Load a model with its weights. Raises UserError if a weight of the encoder has no use, is missing or is wrong.

    `loader`: an Auto class of transformers. `with_head`: the head and the pooler must be in the file too. `labels`:
    names of the outputs, instead of those in config.json; a head with another number of outputs then gets random
    weights. `shapes_only`: check the weights, but build no model of them. The model is then on the device meta.
    """
    config = config_of(name, labels)
    try:
        files = weight_files(lambda file_name: find_file(name, file_name))
        if not files:
            folder = Path(locate(name))
            is_local = folder.is_dir()
            raise UserError(contents.describe(folder, lacks="model.safetensors") if is_local else "it has no weights")
        named = with_usual_names(read_weights(files))
    except UserError as error:
        raise UserError(f"{name}: no model could be loaded ({error})") from error
    _require_layers(name, config, named.weights)
    with library_errors(f"{name}: no model could be loaded"), torch.device("meta"):
        plan = loader.from_config(config)
    _require_size(name, plan, named.weights)
    model, info = _load(type(plan), config, named.weights, name, shapes_only=shapes_only)
    remarks = list(named.remarks)
    _require_used(name, plan, named.weights, info, with_head=with_head)
    _require_complete(name, plan, named.weights, info, with_head=with_head)
    remarks += _check_shapes(name, plan, info, new_head_allowed=labels is not None)
    remarks += _unused(plan, info)
    _require_values(name, plan, named.weights, info)
    return LoadedModel(model=model, remarks=tuple(remarks))


def config_of(name: str, labels: tuple[str, ...] | None = None) -> PreTrainedConfig:
    """The configuration object of a model. `labels`: the names of its outputs, instead of those in config.json."""
    values = read_config(name)
    if labels is not None:
        values |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    if values["model_type"] not in CONFIG_MAPPING:
        raise UserError(
            f"{name}: no model could be loaded (config.json names the model_type {values['model_type']!r}, which "
            "transformers does not know)"
        )
    with library_errors(f"{name}: config.json is not valid", advice="copy or export the model again"):
        return CONFIG_MAPPING[values["model_type"]].from_dict(values)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars and the loading report, which warns of every missing head."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _load(
    model_class: Any, config: PreTrainedConfig, weights: Mapping[str, torch.Tensor], name: str, *, shapes_only: bool
) -> tuple[PreTrainedModel, _LoadingInfo]:
    if shapes_only:
        weights = {key: weight.to("meta") for key, weight in weights.items()}
    with library_errors(f"{name}: no model could be loaded"), quiet_transformers():
        model, info = model_class.from_pretrained(
            None,  # transformers looks for no files of its own
            config=config,
            state_dict=dict(weights),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **({"device_map": "meta"} if shapes_only else {}),
        )
    return model, _LoadingInfo(
        missing=frozenset(info["missing_keys"]),
        unexpected=frozenset(info["unexpected_keys"]),
        mismatched=frozenset((key, tuple(saved), tuple(expected)) for key, saved, expected in info["mismatched_keys"]),
    )


def _require_used(
    name: str, plan: PreTrainedModel, weights: Mapping[str, torch.Tensor], info: _LoadingInfo, *, with_head: bool
) -> None:
    """Raise UserError if a weight of the encoder, or of the head that is used, has no counterpart or occurs twice."""
    twice = next((key for key in weights if f"{plan.base_model_prefix}.{key}" in weights), None)
    if twice is not None:
        raise UserError(
            f"{name}: its weights contain {twice} twice, with and without the prefix {plan.base_model_prefix}.; "
            "expected it once; copy or export the model again"
        )
    own_head = [f"{child}." for child, module in plan.named_children() if module is not plan.base_model]
    unused = sorted(
        key
        for key in info.unexpected
        if _in_encoder(key, plan) or (with_head and plan is not plan.base_model and key.startswith(tuple(own_head)))
    )
    if not unused:
        return
    _require_known_prefix(name, plan, weights)
    num_layers, saved_layers = plan.config.num_hidden_layers, _num_layers(weights)
    differ = saved_layers is not None and saved_layers != num_layers
    numbers = (
        f"config.json has {num_layers} layers, the weights have {saved_layers}"
        if differ
        else f"the file has {len(weights)} weights, the model of config.json {len(plan.state_dict())}"
    )
    raise UserError(
        f"{name}: its weights contain {len(unused)} that the model of config.json lacks, such as {unused[0]}; "
        f"{numbers}; copy config.json and weights of the same model"
    )


def _require_complete(
    name: str, plan: PreTrainedModel, weights: Mapping[str, torch.Tensor], info: _LoadingInfo, *, with_head: bool
) -> None:
    """Raise UserError if weights are missing, except those of a head or pooler. `with_head`: these are required too."""
    encoder = "" if plan is plan.base_model else f"{plan.base_model_prefix}."
    missing = sorted(key for key in info.missing if with_head or (key.startswith(encoder) and "pooler" not in key))
    if missing:
        _require_known_prefix(name, plan, weights)
        raise UserError(
            f"{name}: its weights lack {len(missing)} of those that config.json requires, such as {missing[0]}; copy "
            "or export the whole model again"
        )


def _require_known_prefix(name: str, plan: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise UserError if the names of the weights have a prefix of another program."""
    key = next(iter(plan.base_model.state_dict()))
    prefixes = [saved.removesuffix(key) for saved in weights if saved.endswith(f".{key}")]
    known = f"{plan.base_model_prefix}."
    if prefixes and known not in prefixes and not any(saved == key for saved in weights):
        raise UserError(
            f"{name}: the names of its weights begin with {prefixes[0]!r}; expected {known!r}, as in {known}{key}; "
            "they belong to another architecture, or another program wrapped the model: save the inner model with "
            "save_pretrained"
        )


def _check_shapes(name: str, plan: PreTrainedModel, info: _LoadingInfo, *, new_head_allowed: bool) -> list[str]:
    """Remarks on heads that get random weights. Raises UserError for any other weight of another shape."""
    remarks = []
    for key, saved, expected in sorted(info.mismatched):
        if new_head_allowed and not _in_encoder(key, plan) and plan is not plan.base_model:
            remarks.append(f"its head has other outputs ({key} is {_shape(saved)}); the head gets random weights")
            continue
        raise UserError(
            f"{name}: no model could be loaded (its weight {key} has the shape {_shape(saved)}, but config.json "
            f"requires {_shape(expected)}); copy config.json and weights of the same model"
        )
    return remarks[:1]


def _unused(plan: PreTrainedModel, info: _LoadingInfo) -> list[str]:
    """Remarks on weights that are not used: those of heads for other tasks, and those of no known head."""
    prefix = f"{plan.base_model_prefix}."
    keys = {
        key.removeprefix(prefix) for key in info.unexpected if not key.endswith(BUFFERS) and not _in_encoder(key, plan)
    }
    heads = [head for head in HEADS if any(key.startswith(head) for key in keys)]
    unknown = sorted(key for key in keys if not key.startswith(HEADS))
    remarks = []
    if heads:
        names = ", ".join(head.removesuffix(".") for head in heads)
        remarks.append(f"the weights of its head for another task are not used: {names}")
    if unknown:
        examples = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        remarks.append(f"{len(unknown)} of its weights belong to no part of the model and are not used: {examples}")
    return remarks


def _in_encoder(key: str, plan: PreTrainedModel) -> bool:
    """Whether a name is that of a weight in the encoder, apart from the pooler and from buffers."""
    inner = key.removeprefix(f"{plan.base_model_prefix}.")
    parts = tuple(f"{child}." for child, _ in plan.base_model.named_children() if child != "pooler")
    return inner.startswith(parts) and not inner.endswith(BUFFERS)


def _require_values(name: str, plan: PreTrainedModel, weights: Mapping[str, torch.Tensor], info: _LoadingInfo) -> None:
    """Raise UserError if a used weight is not finite, or if a matrix of the encoder has lost its values."""
    replaced = info.unexpected | {key for key, _, _ in info.mismatched}
    for key, weight in weights.items():
        if key in replaced or not weight.is_floating_point():
            continue
        if not torch.isfinite(weight.float()).all():
            raise UserError(f"{name}: the weight {key} contains NaN or infinity; expected finite numbers")
        if weight.dim() > 1 and _in_encoder(key, plan) and "token_type" not in key and not weight.any():
            raise UserError(f"{name}: the weight {key} is zero throughout; the file is damaged: copy it again")


def _require_layers(name: str, config: PreTrainedConfig, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise UserError if config.json has far more layers than the weights. To build them would take minutes."""
    for key, pattern in (("num_hidden_layers", LAYER), ("num_hidden_groups", GROUP), ("inner_group_num", INNER_LAYER)):
        if key == "num_hidden_layers" and hasattr(config, "num_hidden_groups"):  # ALBERT repeats its layers
            continue
        expected, saved = getattr(config, key, 0), _count(pattern, weights)
        if isinstance(expected, int) and expected > max(2 * saved, MANY_LAYERS):
            raise UserError(
                f"{name}: config.json has {expected} layers ({key}), the weights have {saved}; copy config.json and "
                "weights of the same model"
            )


def _require_size(name: str, plan: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise UserError if the encoder of config.json is far larger than the weights. It would fill the memory."""
    needed = sum(weight.numel() for weight in plan.base_model.parameters())
    saved = sum(weight.numel() for weight in weights.values())
    if needed > max(10 * saved, MANY_WEIGHTS):
        raise UserError(
            f"{name}: config.json describes an encoder of {needed:,} weights, but its files hold {saved:,}; copy "
            "config.json and weights of the same model"
        )


def _num_layers(weights: Mapping[str, torch.Tensor]) -> int | None:
    return _count(LAYER, weights) or None


def _count(pattern: str, weights: Mapping[str, torch.Tensor]) -> int:
    """The largest number that the pattern finds in the names of the weights, plus 1; or 0."""
    return max((int(match[1]) + 1 for key in weights if (match := re.search(pattern, key))), default=0)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
