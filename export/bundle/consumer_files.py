"""The files of a bundle that other programs read: what each needs to load the model and to give its outputs.

A reader of each key: transformers.js (`transformers.js_config`), transformers and optimum (`problem_type`,
tokenizer_config.json), sentence-transformers (`sentence_transformers`), text-embeddings-inference
(sentence_bert_config.json), fastembed (special_tokens_map.json), encoderfile (encoderfile.yml), and a reduced build of
onnxruntime (required_operators_and_types.config).
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
from tokenizers import Tokenizer

from compress.common.files import write_json, write_text
from export.bundle.bundle_json import BundleInfo

OPERATORS_FILE = "required_operators_and_types.config"
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# settings of the teacher's last caller, and of the machine that saved it; `max_length` would override the bundle's
STALE_SETTINGS = (
    "is_local",
    "local_files_only",
    "max_length",
    "name_or_path",
    "pad_to_multiple_of",
    "stride",
    "truncation_strategy",
)
UNKNOWN_BEFORE_TRANSFORMERS_5 = "TokenizersBackend"
ACTIVATION = "torch.nn.modules.linear.Identity"
# A build may apply any of these, so it needs the operators of all. The others are subsets of ENABLE_ALL.
OPTIMISATION_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL")


def write_consumer_files(folder: Path, info: BundleInfo) -> None:
    """Complete a bundle that has its model, config.json and tokenizer."""
    model_file = folder / "onnx" / "model.onnx"
    _update(folder / "config.json", lambda config: _config(config, info))
    _update(folder / "tokenizer_config.json", lambda config: _tokenizer_config(config, _input_names(model_file)))
    write_json(folder / "special_tokens_map.json", _special_tokens(folder))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": info.max_length, "do_lower_case": False})
    if not info.takes_pairs:  # encoderfile takes single texts
        write_text(folder / "encoderfile.yml", _encoderfile(info))
    write_text(folder / OPERATORS_FILE, required_operators(model_file))


def other_programs(info: BundleInfo) -> str:
    """The section of the model card on how to load the bundle in other programs."""
    has_plain_pipeline = info.task_type == "classification" and not info.takes_pairs
    second = "{ text_pair: 'second text', " if info.takes_pairs else "{ "
    lines = [
        "- onnxruntime in any language, and in browsers: load `onnx/model.onnx`, and truncate texts to "
        f"{info.max_length} tokens.",
        '- optimum-onnx: `ORTModelForSequenceClassification.from_pretrained("bundle")`; pass `truncation=True` to the '
        "pipeline of transformers.",
        "- transformers.js: `pipeline('text-classification', 'bundle')`; leave out `dtype`."
        if has_plain_pipeline
        else "- transformers.js: the pipeline gives wrong outputs for this model and reports no error. Use "
        "`AutoTokenizer` and `AutoModelForSequenceClassification`, with "
        f"`tokenizer('text', {second}truncation: true, "
        "return_token_type_ids: true })`.",
        "- text-embeddings-inference: `text-embeddings-router --model-id bundle`"
        + (", and `raw_scores: true` in each request." if info.task_type == "regression" else "."),
    ]
    if info.takes_pairs:
        lines.append('- sentence-transformers 5: `CrossEncoder("bundle", backend="onnx")`.')
    else:
        lines.append("- encoderfile: `encoderfile build -f encoderfile.yml` in the folder of the bundle.")
    lines.append(
        '- fastembed: `TextCrossEncoder.add_custom_model(..., model_file="onnx/model.onnx")`, then '
        '`specific_model_path="bundle"`.'
    )
    if info.variant.startswith(("int8-dynamic", "int8-static", "int4-static")):
        lines.append("- OpenVINO: only within onnxruntime, with the package `onnxruntime-openvino`.")
    if not info.batch_invariant:
        lines.append("- Each of them runs texts in batches, so the output for a text depends on the others.")
    lines.append(f"- A reduced build of onnxruntime: `--include_ops_by_config {OPERATORS_FILE}`.")
    return "\n".join(["## In other programs", "", *lines])


def required_operators(model_file: Path) -> str:
    """The operators and types of a model at any level of optimisation, for onnxruntime's `--include_ops_by_config`."""
    create_config_from_models = _import_tool()
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for level in OPTIMISATION_LEVELS:
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
            files.append(Path(folder) / f"{level}.ort")
            options.optimized_model_filepath = str(files[-1])
            options.add_session_config_entry("session.save_model_format", "ORT")
            options.log_severity_level = 3  # it warns that the file depends on the processor
            onnxruntime.InferenceSession(
                str(model_file), options, providers=["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"]
            )
        config = Path(folder) / "operators.config"
        try:
            create_config_from_models(files, config, enable_type_reduction=True)
        except KeyError:  # a type that the tool does not know, such as INT4; without types, a build has all of them
            create_config_from_models(files, config, enable_type_reduction=False)
        lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return "\n".join([f"# onnxruntime {onnxruntime.__version__}", *lines, ""])


def _import_tool() -> Callable[..., None]:
    """onnxruntime's tool for lists of operators, made silent. It configures logging if there is no handler yet."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        from onnxruntime.tools.ort_format_model import create_config_from_models
    finally:
        root.removeHandler(handler)
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    return create_config_from_models


def _update(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    write_json(path, change(json.loads(path.read_text(encoding="utf-8"))))


def _config(config: dict[str, Any], info: BundleInfo) -> dict[str, Any]:
    match info.task_type:
        case "classification":
            by_task: dict[str, Any] = {"problem_type": "single_label_classification"}
        case "regression":  # without these, transformers and sentence-transformers apply a sigmoid
            by_task = {
                "problem_type": "regression",
                "sentence_transformers": {**(config.get("sentence_transformers") or {}), "activation_fn": ACTIVATION},
            }
    # browsers read model_quantized.onnx by default; fp32 is the name of model.onnx, whatever the precision in it
    return {**config, **by_task, "transformers.js_config": {"dtype": "fp32"}}


def _tokenizer_config(config: dict[str, Any], input_names: list[str]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if name not in STALE_SETTINGS}
    if kept.get("tokenizer_class") == UNKNOWN_BEFORE_TRANSFORMERS_5:
        kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    return {**kept, "model_input_names": input_names}


def _input_names(model_file: Path) -> list[str]:
    import onnx

    return [value.name for value in onnx.load(str(model_file), load_external_data=False).graph.input]


def _special_tokens(folder: Path) -> dict[str, Any]:
    """The special tokens by role, with how each is matched in a text."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    matching = {token.content: token for token in tokenizer.get_added_tokens_decoder().values()}
    names = {role: _content(config[role]) for role in SPECIAL_TOKENS if config.get(role)}
    return {
        role: {
            "content": name,
            "lstrip": matching[name].lstrip,
            "normalized": matching[name].normalized,
            "rstrip": matching[name].rstrip,
            "single_word": matching[name].single_word,
        }
        for role, name in names.items()
        if name in matching
    }


def _content(token: Any) -> str:
    """A special token of tokenizer_config.json: its text, or a record with its text."""
    return str(token["content"] if isinstance(token, dict) else token)


def _encoderfile(info: BundleInfo) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", info.name).strip("-.") or "model"
    lines = [
        "# cd here, then: encoderfile build -f encoderfile.yml",
        "encoderfile:",
        f"  name: {json.dumps(name)}",
        f"  output_path: {json.dumps(f'../{name}.encoderfile')}",  # a file more in the bundle would be refused
        "  model_type: sequence_classification",
        "  path:",
        "    model_config_path: config.json",
        "    model_weights_path: onnx/model.onnx",
        "    tokenizer_path: tokenizer.json",
        "    tokenizer_config_path: tokenizer_config.json",
    ]
    if info.task_type == "classification":
        lines += ["  transform: |", "    function Postprocess(logits)", "      return logits:softmax(2)", "    end"]
    return "\n".join([*lines, ""])
