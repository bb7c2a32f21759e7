"""Tests that the check of a recipe and the library report each problem of teacher and student in the same words."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from compress.common.errors import Problem, UserError
from compress.distillation import stage_functions
from compress.distillation.objective import Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models.architectures import ARCHITECTURES, STUDENTS, TEACHERS, capabilities_of
from compress.models.compatibility import EncoderFacts, read_encoder
from compress.models.shape import StudentShape
from pocketbert.recipe.preflight import check_models
from pocketbert.recipe.sections import Recipe
from tiny_bert import LABELS, config, encode_texts, rows

SHAPE = {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4}
STAGE = {"embedding": 1, "hidden": 1, "attention": 1, "relations": 0}


def small(model_type: str, **changes: object) -> AutoConfig:
    """The config of a tiny model of the size of conftest's teacher."""
    names = {"layers": "num_hidden_layers", "width": "hidden_size", "ffn_width": "intermediate_size"}
    names["heads"] = "num_attention_heads"
    if model_type == "distilbert":
        names = {"layers": "n_layers", "width": "dim", "ffn_width": "hidden_dim", "heads": "n_heads"}
    sizes = {"layers": 4, "width": 32, "ffn_width": 64, "heads": 4}
    return AutoConfig.for_model(
        model_type,
        vocab_size=27,
        pad_token_id=0,
        max_position_embeddings=64,
        **{names[fact]: size for fact, size in sizes.items()},
        **changes,
    )


# for each rule: invalid sections student and distill of a recipe, and the message
CASES: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "heads of a projected student": (
        {"heads": 8},
        {"intermediate": {**STAGE, "attention": 0}},
        "projected initialisation needs a student with no more heads than its teacher: the student has 8 heads, "
        "the teacher 4",
    ),
    "width of a projected student": (
        {"width": 36},
        {},
        "projected initialisation needs a student no wider than its teacher: width is 36, the teacher's 32",
    ),
    "feed-forward width of a projected student": (
        {"ffn_width": 65},
        {},
        "projected initialisation needs a student no wider than its teacher: ffn_width is 65, the teacher's 64",
    ),
    "width of copied layers": (
        {"ffn_width": 64, "initialisation": "teacher_layers"},
        {},
        "copying the teacher's layers needs equal width: student 16, teacher 32",
    ),
    "heads under the attention loss": (
        {"heads": 2, "initialisation": "random"},
        {"intermediate": STAGE},
        "the attention loss compares head by head: the student has 2 heads, the teacher 4",
    ),
    "relation heads": (
        {},
        {"intermediate": {**STAGE, "relation_heads": 5}},
        "got 5 relation heads; expected a divisor of both widths, 16 and 32",
    ),
    "weights of each layer": (
        {},
        {"intermediate": {**STAGE, "hidden": [1.0, 2.0, 1.0]}},
        "got 3 weights for the 2 layers of the student; expected one or 2",
    ),
    "a deeper student": ({"layers": 5}, {}, "the student has 5 layers, more than the teacher's 4"),
    "a layer map": (
        {},
        {"layer_map": [1, 9]},
        "got the layer map [1, 9]; expected 2 teacher layers, one per student layer, from 1 to 4",
    ),
}


def problems_of(call: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(UserError) as error:
        call()
    return error.value.problems


def in_preflight(teacher: object, student: dict[str, object], stages: dict[str, object]) -> tuple[Problem, ...]:
    sections = {"name": "t", "task": {"data": "x.csv", "max_length": 32}, "teacher": {"base": str(teacher)}}
    recipe = Recipe.model_validate({**sections, "student": {**SHAPE, **student}, "distill": stages})
    return problems_of(lambda: check_models(recipe))


def in_library(teacher, texts, folder, student: dict[str, object], stages: dict[str, object]) -> tuple[Problem, ...]:
    """The problems that the initialisation of the student or the layer-wise stage reports."""
    initialisation = str(student.get("initialisation", "projected"))
    layer_map = stages.get("layer_map", "uniform")
    section = stages.get("intermediate", STAGE)
    objective = Objective(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in section.items()}
    )

    def run() -> None:
        shape = StudentShape(**{name: student.get(name, size) for name, size in SHAPE.items()})
        checkpoint = student.get("checkpoint")
        learner = stage_functions.initialise(
            initialisation, shape, teacher, LABELS, texts, task_type="classification", seed=0, layer_map=layer_map,
            checkpoint=checkpoint,
        )  # fmt: skip
        context = TrainContext(title="layers", seed=0, checkpoints=folder)
        schedule = Schedule(epochs=1, batch_size=8, learning_rate=1e-3, max_steps=1)
        stage_functions.distill_layers(learner, teacher, texts, objective, schedule, context, layer_map=layer_map)

    return problems_of(run)


@pytest.fixture
def texts(tokenizer):
    return encode_texts([text for text, _ in rows(20)], tokenizer, max_length=32)


def assert_same(expected: str, in_check: tuple[Problem, ...], during_run: tuple[Problem, ...]) -> None:
    """The messages are equal, but the check may put a recipe key first."""
    (library,) = (problem for problem in during_run if problem.text.endswith(expected))
    (preflight,) = (problem for problem in in_check if problem.text.endswith(expected))
    assert library.text == expected and preflight.option == library.option
    assert preflight.text.removesuffix(expected) in (
        "",
        *(f"distill.intermediate.{key}: " for key in (*STAGE, "relation_heads")),
    )


@pytest.mark.parametrize("rule", CASES)
def test_the_check_and_the_library_report_the_same_problem(tmp_path, teacher, base_folder, texts, rule):
    student, stages, expected = CASES[rule]
    in_check = in_preflight(base_folder, student, stages)
    assert_same(expected, in_check, in_library(teacher, texts, tmp_path, student, stages))


@pytest.mark.parametrize("model_type", [name for name in TEACHERS if not ARCHITECTURES[name].weights_can_be_projected])
@pytest.mark.parametrize("initialisation", ["projected", "teacher_layers"])
def test_both_report_weights_that_cannot_be_projected(tmp_path, tokenizer, texts, model_type, initialisation):
    model = AutoModelForSequenceClassification.from_config(small(model_type))
    model.save_pretrained(tmp_path / "teacher")
    student = {**SHAPE, "initialisation": initialisation}
    reason = ARCHITECTURES[model_type].reason
    expected = f"the teacher is a {model_type}, whose weights cannot initialise a student: {reason}"
    in_check = in_preflight(tmp_path / "teacher", student, {})
    assert_same(expected, in_check, in_library(model, texts, tmp_path, student, {}))


def test_both_report_narrow_embeddings(tmp_path, texts):
    model = AutoModelForSequenceClassification.from_config(small("electra", embedding_size=24))
    model.save_pretrained(tmp_path / "teacher")
    student = {"layers": 4, "width": 32, "ffn_width": 64, "initialisation": "teacher_layers"}
    expected = "copying the teacher's layers needs equal embedding_width: student 32, teacher 24"
    in_check = in_preflight(tmp_path / "teacher", student, {})
    assert_same(expected, in_check, in_library(model, texts, tmp_path, student, {}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"num_hidden_layers": 3}, "has layers 3; expected 2"), ({"vocab_size": 99}, "has vocab_size 99; expected 27")],
)
def test_both_report_a_checkpoint_of_another_shape(tmp_path, teacher, base_folder, texts, changes, expected):
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32}
    checkpoint = str(tmp_path / "student")
    BertForSequenceClassification(config(**{**sizes, **changes})).save_pretrained(checkpoint)
    student = {"initialisation": "checkpoint", "checkpoint": checkpoint}
    in_check = in_preflight(base_folder, student, {})
    assert_same(f"{checkpoint} {expected}", in_check, in_library(teacher, texts, tmp_path, student, {}))


def test_both_report_a_student_of_another_architecture(tmp_path, teacher, base_folder, texts):
    checkpoint = str(tmp_path / "student")
    AutoModelForSequenceClassification.from_config(small("distilbert")).save_pretrained(checkpoint)
    student = {"initialisation": "checkpoint", "checkpoint": checkpoint}
    in_check = in_preflight(base_folder, student, {})
    expected = f"{checkpoint} is a distilbert; expected a bert or a roberta"
    assert_same(expected, in_check, in_library(teacher, texts, tmp_path, student, {}))


def test_all_problems_are_reported_at_once(base_folder):
    wrong = {"hidden": [1.0] * 3, "relations": [1.0] * 5, "relation_heads": 5}
    problems = in_preflight(base_folder, {"width": 36}, {"layer_map": [1], "intermediate": wrong})
    assert len(problems) == 5 and len({problem.text for problem in problems}) == 5
    assert str(UserError.of(problems)) == "\n".join(problem.text for problem in problems)


@pytest.mark.parametrize("model_type", TEACHERS)
def test_facts_from_config_json_equal_those_of_the_loaded_model(tmp_path, model_type):
    """The attribute map of transformers is the reference."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(
        small(model_type, **({"embedding_size": 24} if model_type == "electra" else {}))
    )
    model.save_pretrained(tmp_path)
    facts = read_encoder(str(tmp_path))
    assert facts == EncoderFacts.of_config(model.config.to_dict())
    assert (facts.layers, facts.width, facts.heads) == (
        model.config.num_hidden_layers, model.config.hidden_size, model.config.num_attention_heads,
    )  # fmt: skip
    assert facts.ffn_width == 64 and facts.vocab_size == 27 and facts.model_type == model_type
    assert facts.embedding_width == model.get_input_embeddings().weight.shape[1]
    assert facts.activation == ("gelu_new" if model_type == "albert" else "gelu")


def test_an_incomplete_config_is_refused(tmp_path):
    values = config().to_dict()
    with pytest.raises(UserError, match=r"its config\.json is incomplete \('hidden_size'\)"):
        EncoderFacts.of_config({name: value for name, value in values.items() if name != "hidden_size"})
    with pytest.raises(UserError, match=r"its config\.json has the width '32'; expected an integer"):
        EncoderFacts.of_config({**values, "hidden_size": "32"})


@pytest.mark.parametrize(
    ("model_type", "message"),
    [
        ("gpt2", "got a gpt2, which cannot be distilled"),
        ("deberta-v2", "got a deberta-v2, whose attention scores cannot be read"),
    ],
)
def test_the_error_for_an_unsuitable_teacher_names_the_model(tmp_path, model_type, message):
    BertConfig(**{**config().to_dict(), "model_type": model_type}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"bert"', f'"{model_type}"'))
    with pytest.raises(UserError, match=f"^{tmp_path}: {message}.*; expected one of albert, bert, camembert"):
        read_encoder(str(tmp_path))


def test_the_table_of_architectures_is_consistent():
    assert tuple(ARCHITECTURES) == tuple(sorted(ARCHITECTURES)) and STUDENTS == ("bert", "roberta")
    for model_type, can in ARCHITECTURES.items():
        assert can.can_be_teacher or not (can.weights_can_be_projected or can.can_be_student), model_type
        assert bool(can.reason) != can.weights_can_be_projected, model_type
    assert not capabilities_of("t5").can_be_teacher
