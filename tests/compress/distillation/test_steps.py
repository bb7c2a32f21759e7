"""Tests of the options of the stages: layer maps, weights per layer, projections and relations."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.common.errors import UserError
from compress.data.batching import PaddingCollator
from compress.distillation import layer_outputs, objective, stage_functions
from compress.distillation.objective import DistillationModel, Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.shape import LayerMap, StudentShape, map_layers
from pocketbert.recipe import preflight
from tiny_bert import LABELS, encode_texts, in_a_recipe, rows

SHAPE = StudentShape(layers=2, width=16, ffn_width=32, heads=4)
QUICK = Schedule(epochs=1, batch_size=16, learning_rate=1e-3, max_steps=3)


@pytest.fixture
def texts(tokenizer):
    return encode_texts([text for text, _ in rows(60)], tokenizer, max_length=32)


def losses_of(learner, teacher, texts, objective: Objective, layer_map: LayerMap) -> dict[str, float]:
    batch = PaddingCollator(0)([texts.rows[0], texts.rows[1]])
    mapped_layers = map_layers(layer_map, 2, 4)
    model = DistillationModel(learner.student, learner.projections, objective).eval()
    with torch.no_grad(), layer_outputs.capture_attention(learner.student, teacher):
        outputs = layer_outputs.read(teacher, batch, objective.requested_outputs).of_layers(mapped_layers)
        return {name: values.mean().item() for name, values in model(teacher=outputs, **batch).items()}


def test_a_weight_per_layer_applies_to_that_layer_only(teacher, texts):
    learner = stage_functions.initialise("random", SHAPE, teacher, LABELS, texts, task_type="classification", seed=0)
    for name in ("hidden", "attention", "relations"):

        def loss_of(weights, name=name):
            return losses_of(learner, teacher, texts, Objective(**{name: weights}), "uniform")[name]

        first, second = loss_of((1.0, 0.0)), loss_of((0.0, 1.0))
        assert first != pytest.approx(second)
        assert loss_of(1.0) == pytest.approx(first + second, rel=1e-5)
        assert loss_of((0.5, 3.0)) == pytest.approx(0.5 * first + 3 * second, rel=1e-5)


def test_there_is_one_weight_or_one_per_layer():
    assert objective.weighted_layers(2.0, 3) == [(0, 2.0), (1, 2.0), (2, 2.0)]
    assert objective.weighted_layers((0.0, 1.0, 0.5), 3) == [(1, 1.0), (2, 0.5)]
    with pytest.raises(UserError, match="got 2 weights for the 3 layers of the student; expected one or 3"):
        objective.weighted_layers((1.0, 1.0), 3)


def test_the_layer_map_selects_the_teacher_layers(teacher, texts):
    learner = stage_functions.initialise("random", SHAPE, teacher, LABELS, texts, task_type="classification", seed=0)
    losses = {
        str(layer_map): losses_of(learner, teacher, texts, Objective(hidden=1.0), layer_map)["hidden"]
        for layer_map in ("uniform", "top", "bottom", [1, 2], [2, 4])
    }
    assert losses["bottom"] == losses["[1, 2]"] and losses["uniform"] == losses["[2, 4]"]
    assert len(set(losses.values())) == 3


def test_a_projection_per_layer_is_trained_and_saved(tmp_path, teacher, tokenizer, texts):
    learner = stage_functions.initialise(
        "projected",
        SHAPE,
        teacher,
        LABELS,
        texts,
        task_type="classification",
        seed=0,
        projection_per_layer=True,
        layer_map="top",
    )
    first, second = (linear.weight.clone() for linear in learner.projections.hidden)
    assert torch.equal(first, second)
    first_layer_only = Objective(hidden=(1.0, 0.0))
    stage_functions.distill_layers(
        learner,
        teacher,
        texts,
        first_layer_only,
        QUICK,
        TrainContext(title="layers", seed=0, checkpoints=tmp_path / "checkpoints"),
    )
    after = [linear.weight for linear in learner.projections.hidden]
    assert not torch.equal(after[0], first) and torch.equal(after[1], second)
    learner.save_encoder(tmp_path / "model", tokenizer)
    loaded = stage_functions.load_learner(tmp_path / "model", LABELS, 32, task_type="classification", seed=0)
    assert len(loaded.projections.hidden) == 2
    assert torch.equal(loaded.projections.hidden[0].weight, after[0])
    assert_damaged_projections_are_refused(tmp_path / "model", teacher, tokenizer)


def assert_damaged_projections_are_refused(folder, teacher, tokenizer) -> None:
    """`check` refuses them too."""
    loading.save_model(teacher, tokenizer, folder.with_name("teacher"))
    file = folder / "projections.safetensors"
    content, weights = file.read_bytes(), load_file(file)
    file.write_bytes(content[:-100])
    with pytest.raises(UserError, match="projections cannot be read"):
        preflight._check_projections(str(folder), str(folder.with_name("teacher")))
    save_file({name: weight * float("nan") for name, weight in weights.items()}, file)
    with pytest.raises(UserError, match="projections contain NaN"):
        preflight._check_projections(str(folder), str(folder.with_name("teacher")))
    file.write_bytes(content)
    with pytest.raises(UserError, match="projections do not fit"):
        stage_functions.load_projections(folder, 16, 64)
    preflight._check_projections(str(folder), str(folder.with_name("teacher")))


def test_relations_can_be_learned_with_a_different_number_of_heads(tmp_path, teacher, texts):
    learner = stage_functions.initialise(
        "random",
        StudentShape(layers=2, width=24, ffn_width=32, heads=2),
        teacher,
        LABELS,
        texts,
        task_type="classification",
        seed=0,
    )
    context = TrainContext(title="layers", seed=0, checkpoints=tmp_path)
    with pytest.raises(UserError, match=r"head by head: the student has 2 heads, the teacher 4$") as error:
        stage_functions.distill_layers(learner, teacher, texts, objective.INTERMEDIATE_LAYERS, QUICK, context)
    assert in_a_recipe(error.value).endswith("set the stage's weights attention: 0 and relations: 1")
    before = losses_of(learner, teacher, texts, Objective(relations=(0.0, 1.0)), "uniform")["relations"]
    schedule = Schedule(epochs=10, batch_size=16, learning_rate=3e-3)
    stage_functions.distill_layers(learner, teacher, texts, Objective(relations=(0.0, 1.0)), schedule, context)
    assert losses_of(learner, teacher, texts, Objective(relations=(0.0, 1.0)), "uniform")["relations"] < 0.7 * before


def test_relation_heads_divide_both_widths():
    assert objective.max_relation_heads(312, 768) == 24
    assert objective.max_relation_heads(384, 768) == 48
    assert objective.max_relation_heads(7, 9) == 1


def test_teacher_layers_above_the_last_mapped_one_are_not_computed(tmp_path, teacher, texts):
    learner = stage_functions.initialise(
        "random", SHAPE, teacher, LABELS, texts, task_type="classification", seed=0, layer_map="bottom"
    )
    calls = []
    handle = teacher.bert.encoder.layer[2].register_forward_hook(lambda *_: calls.append(1))
    context = TrainContext(title="layers", seed=0, checkpoints=tmp_path)
    stage_functions.distill_layers(
        learner, teacher, texts, objective.INTERMEDIATE_LAYERS, QUICK, context, layer_map="bottom"
    )
    handle.remove()
    assert not calls and len(teacher.bert.encoder.layer) == 4
