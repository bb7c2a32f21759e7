"""A model whose outputs a bundle would not return is refused, wherever a fine-tuned model is taken."""

import json
import shutil
from pathlib import Path

import pytest

from compress.common.errors import UserError
from compress.models import outputs, sources
from export.parity.predictors import TorchPredictor
from pocketbert.cli import app

SIGMOID, SOFTMAX, TANH = (f"torch.nn.modules.activation.{name}" for name in ("Sigmoid", "Softmax", "Tanh"))
IDENTITY = "torch.nn.modules.linear.Identity"
CROSS_ENCODER, TEXTS = outputs.CROSS_ENCODER, outputs.CROSS_ENCODER_TEXTS
Settings = dict[str, dict[str, object]]


def task_type_in(config: dict[str, object], num_outputs: int, settings: Settings | None = None) -> str:
    return outputs.task_type_in(config, num_outputs, name="a-model", settings=settings or {})


@pytest.mark.parametrize(
    ("config", "num_outputs", "settings"),
    [
        ({}, 2, {}),
        ({"problem_type": None}, 2, {}),
        ({"problem_type": "single_label_classification"}, 3, {}),
        ({"sentence_transformers": {"activation_fn": SOFTMAX}}, 2, {}),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, 3, {}),
        ({"sentence_transformers": {"version": "4.1"}}, 2, {}),
        ({"sentence_transformers": 3, "sbert_ce_default_activation_function": None}, 2, {}),
        ({"function_to_apply": "softmax"}, 2, {}),
        ({}, 2, {CROSS_ENCODER: {"activation_fn": IDENTITY, "prompts": {}, "default_prompt_name": None}}),
        ({}, 2, {CROSS_ENCODER: {"prompts": {"query": "query: "}, "default_prompt_name": None}}),
        ({}, 2, {TEXTS: {"do_lower_case": True}, outputs.TOKENIZER_CONFIG: {"do_lower_case": True}}),
        ({}, 2, {TEXTS: {"do_lower_case": False}}),
    ],
)
def test_models_with_a_softmax_are_classifiers(config, num_outputs, settings):
    assert task_type_in(config, num_outputs, settings) == "classification"


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({}, {}),
        ({"problem_type": "regression"}, {}),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, {}),
        ({"sbert_ce_default_activation_function": IDENTITY}, {}),
        ({"function_to_apply": "none"}, {}),
        ({"sbert_ce_default_activation_function": SIGMOID}, {CROSS_ENCODER: {"activation_fn": IDENTITY}}),
        ({"sbert_ce_default_activation_function": SIGMOID, "sentence_transformers": {"activation_fn": IDENTITY}}, {}),
    ],
)
def test_models_with_one_raw_output_are_regressions(config, settings):
    """The key of the newest sentence-transformers counts."""
    assert task_type_in(config, 1, settings) == "regression"


@pytest.mark.parametrize(
    ("config", "num_outputs", "settings", "message"),
    [
        ({"problem_type": "multi_label_classification"}, 3, {}, "a text can have several labels"),
        ({"problem_type": "multi_label_classification"}, 1, {}, "a text can have several labels"),
        ({"problem_type": "regression"}, 2, {}, "'regression' and 2 outputs; expected one output"),
        ({"problem_type": "single_label_classification"}, 1, {}, "set problem_type to regression"),
        ({"problem_type": "binary"}, 2, {}, "'binary'; expected single_label_classification, "),
        ({"problem_type": ["regression"]}, 1, {}, "['regression']; expected"),
        ({"problem_type": 0}, 2, {}, "problem_type 0; expected"),
        ({"sentence_transformers": {"activation_fn": SIGMOID}}, 1, {}, "as sentence_transformers.activation_fn in"),
        ({"sentence_transformers": {"activation_fn": SIGMOID}}, 2, {}, "returns the softmax of its outputs"),
        ({"sentence_transformers": {"activation_fn": "mine.Scaled"}}, 2, {}, "got 'mine.Scaled'"),
        ({"sentence_transformers": {"activation_fn": ["Identity"]}}, 2, {}, "got ['Identity']"),
        ({"sbert_ce_default_activation_function": SIGMOID}, 1, {}, f"set the key to '{IDENTITY}'"),
        ({"sbert_ce_default_activation_function": TANH}, 2, {}, "got 'torch.nn.modules.activation.Tanh'"),
        ({"sbert_ce_default_activation_function": SOFTMAX}, 1, {}, "its output without an activation"),
        ({"function_to_apply": "sigmoid"}, 2, {}, "as function_to_apply in config.json"),
        ({"function_to_apply": "sigmoid"}, 1, {}, "set the key to 'none'"),
        ({}, 1, {CROSS_ENCODER: {"activation_fn": SIGMOID}}, f"as activation_fn in {CROSS_ENCODER}"),
        (
            {"sentence_transformers": {"activation_fn": IDENTITY}}, 1, {CROSS_ENCODER: {"activation_fn": SIGMOID}},
            f"as activation_fn in {CROSS_ENCODER}",
        ),
        ({}, 2, {CROSS_ENCODER: {"prompts": {"q": "query: "}, "default_prompt_name": "q"}}, "puts the prompt 'query"),
        ({}, 2, {TEXTS: {"do_lower_case": True}}, "lower-cases the texts"),
    ],
)  # fmt: skip
def test_other_outputs_are_refused_in_one_line(config, num_outputs, settings, message):
    with pytest.raises(UserError) as error:
        task_type_in(config, num_outputs, settings)
    assert str(error.value).startswith("a-model: ") and message in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def multi_label(tmp_path, teacher_folder) -> Path:
    model = Path(shutil.copytree(teacher_folder, tmp_path / "multi"))
    content = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**content, "problem_type": "multi_label_classification"}))
    return model


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "multi", "--data", "REVIEWS", "--max-length", "32"],
        ["bench", "models", "multi", "--data", "REVIEWS"],
        ["check", "recipe.yaml"],
        ["run", "recipe.yaml"],
    ],
)
def test_every_command_refuses_such_a_model(monkeypatch, tmp_path, multi_label, reviews, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "recipe.yaml").write_text(
        f"name: r\ntask: {{data: {reviews}, max_length: 32}}\nteacher: {{model: {multi_label}}}\n"
        "student: {layers: 2, width: 16, ffn_width: 32, heads: 4}\n"
    )
    assert app.main([str(reviews) if argument == "REVIEWS" else argument for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "problem_type 'multi_label_classification'" in lines[0]
    assert not list(tmp_path.rglob("*.onnx"))


def test_the_library_refuses_such_a_model(multi_label):
    for load in (sources.task_type_of, TorchPredictor):
        with pytest.raises(UserError, match="multi_label_classification"):
            load(str(multi_label))


@pytest.mark.parametrize("content", ["{broken", "[]", "\ufffd"])
def test_a_damaged_settings_file_is_one_line(tmp_path, teacher_folder, content):
    model = Path(shutil.copytree(teacher_folder, tmp_path / "model"))
    (model / CROSS_ENCODER).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=CROSS_ENCODER) as error:
        sources.task_type_of(str(model))
    assert "\n" not in str(error.value)
