import pytest
import torch
from transformers import BertForSequenceClassification

from compress.common.errors import UserError
from compress.data.batching import PaddingCollator
from compress.distillation import layer_outputs
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel, Objective
from compress.distillation.projected_initialisation import group_heads, low_rank, principal_subspace
from compress.distillation.stage_functions import initialise
from compress.models.shape import StudentShape, map_layers
from tiny_bert import config, encode_texts

LABELS = ("negative", "positive")
TEXTS = [
    "the fine film was warm and lovely",
    "a dull story and awful music it",
    "the plot of the cast was very flat",
] * 8


RELATIONS = Objective(embedding=1.0, hidden=1.0, relations=1.0)


def layer_losses(
    initialisation: str, teacher, tokenizer, shape: StudentShape, objective: Objective = INTERMEDIATE_LAYERS
) -> dict[str, float]:
    texts = encode_texts(TEXTS, tokenizer, max_length=32)
    learner = initialise(initialisation, shape, teacher, LABELS, texts, task_type="classification", seed=0)
    batch = PaddingCollator(texts.pad_token_id)([texts.rows[0], texts.rows[1]])
    mapped_layers = map_layers("uniform", shape.layers, 4)
    with layer_outputs.capture_attention(teacher):
        mapped = layer_outputs.read(teacher, batch, objective.requested_outputs).of_layers(mapped_layers)
    model = DistillationModel(learner.student.eval(), learner.projections, objective)
    with layer_outputs.capture_attention(learner.student):
        return {name: values.mean().item() for name, values in model(teacher=mapped, **batch).items()}


def test_projected_weights_are_closer_to_the_teacher_than_random_ones(teacher, tokenizer):
    shape = StudentShape(layers=2, width=16, ffn_width=32, heads=4)
    projected = layer_losses("projected", teacher, tokenizer, shape)
    random = layer_losses("random", teacher, tokenizer, shape)
    for name in ("embedding", "hidden", "attention"):
        assert projected[name] < random[name], name
    assert sum(projected.values()) < 0.7 * sum(random.values())


def test_fewer_heads_stand_for_groups_of_the_teachers(teacher, tokenizer):
    assert group_heads(12, 6) == [range(0, 2), range(2, 4), range(4, 6), range(6, 8), range(8, 10), range(10, 12)]
    assert group_heads(12, 5) == [range(0, 2), range(2, 4), range(4, 7), range(7, 9), range(9, 12)]
    assert group_heads(4, 4) == [range(0, 1), range(1, 2), range(2, 3), range(3, 4)]
    for heads in (1, 2):
        shape = StudentShape(layers=2, width=16, ffn_width=32, heads=heads)
        projected = layer_losses("projected", teacher, tokenizer, shape, RELATIONS)
        random = layer_losses("random", teacher, tokenizer, shape, RELATIONS)
        assert projected["hidden"] < 0.3 * random["hidden"] and sum(projected.values()) < 0.8 * sum(random.values())


def test_a_copy_of_all_layers_has_loss_0(teacher, tokenizer):
    shape = StudentShape(layers=4, width=32, ffn_width=64, heads=4)
    losses = layer_losses("teacher_layers", teacher, tokenizer, shape)
    assert losses == pytest.approx(dict.fromkeys(losses, 0.0), abs=1e-10)
    assert set(losses) == {"embedding", "hidden", "attention"}


def test_the_basis_is_orthonormal_and_spans_the_states():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(500, 6, generator=generator) @ torch.randn(6, 20, generator=generator)
    basis = principal_subspace([states], 6, seed=0)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(states @ basis @ basis.T, states, atol=1e-3, rtol=1e-3)


def test_low_rank_is_exact_at_full_rank_and_better_than_plain_svd_on_real_inputs():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(8, 8, generator=generator)
    inputs = torch.randn(400, 8, generator=generator) @ torch.diag(torch.tensor([9.0, 5, 3, 1, 1, 0.5, 0.2, 0.1]))
    moment = inputs.T @ inputs / 400
    a, b = low_rank(matrix, 8, moment, moment)
    torch.testing.assert_close(a @ b.T, matrix, atol=1e-3, rtol=1e-3)

    def error(approximation: torch.Tensor) -> float:
        return (inputs @ (approximation - matrix) @ inputs.T).square().mean().item()

    a, b = low_rank(matrix, 3, moment, moment)
    u, s, vh = torch.linalg.svd(matrix)
    assert error(a @ b.T) < error(u[:, :3] @ torch.diag(s[:3]) @ vh[:3])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"layers": 2, "width": 16, "ffn_width": 32, "heads": 8}, "the student has 8 heads, the teacher 4"),
        ({"layers": 2, "width": 48, "ffn_width": 32, "heads": 4}, "width is 48, the teacher's 32"),
        (
            {"layers": 5, "width": 16, "ffn_width": 32, "heads": 4},
            "the student has 5 layers, more than the teacher's 4",
        ),
    ],
)
def test_shapes_that_cannot_be_projected_are_refused(teacher, tokenizer, shape, message):
    with pytest.raises(UserError, match=message):
        initialise(
            "projected",
            StudentShape(**shape),
            teacher,
            LABELS,
            encode_texts(TEXTS, tokenizer, max_length=32),
            task_type="classification",
            seed=0,
        )


def test_copied_layers_need_equal_widths(teacher, tokenizer):
    shape = StudentShape(layers=2, width=16, ffn_width=64, heads=4)
    with pytest.raises(UserError, match="equal width: student 16, teacher 32"):
        initialise(
            "teacher_layers",
            shape,
            teacher,
            LABELS,
            encode_texts(TEXTS, tokenizer, max_length=32),
            task_type="classification",
            seed=0,
        )


def test_a_checkpoint_of_another_shape_is_refused(tmp_path, teacher, tokenizer):
    BertForSequenceClassification(config(num_hidden_layers=3)).save_pretrained(tmp_path)
    shape = StudentShape(layers=2, width=32, ffn_width=64, heads=4)
    texts = encode_texts(TEXTS, tokenizer, max_length=32)
    with pytest.raises(UserError, match="has layers 3; expected 2"):
        initialise(
            "checkpoint", shape, teacher, LABELS, texts, task_type="classification", seed=0, checkpoint=str(tmp_path)
        )
