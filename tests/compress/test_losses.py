import numpy as np
import pytest
import torch

from compress import losses

LENGTHS = (5, 3)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[1] * length + [0] * (5 - length) for length in LENGTHS])


def test_attention_loss_equals_numpy_over_the_real_pairs_of_each_example(mask):
    student, teacher = torch.randn(2, 2, 4, 5, 5)
    expected = [
        np.mean((student[i, :, :n, :n].numpy() - teacher[i, :, :n, :n].numpy()) ** 2) for i, n in enumerate(LENGTHS)
    ]
    np.testing.assert_allclose(losses.attention_loss(student, teacher, mask), expected, rtol=1e-6, atol=1e-6)


def test_hidden_loss_equals_numpy_over_the_real_tokens_of_each_example(mask):
    student, teacher = torch.randn(2, 2, 5, 8)
    expected = [np.mean((student[i, :n].numpy() - teacher[i, :n].numpy()) ** 2) for i, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(losses.hidden_loss(student, teacher, mask), expected, rtol=1e-6, atol=1e-6)


def relations(vectors: np.ndarray, num_heads: int) -> np.ndarray:
    """Relations (heads, positions, positions) of vectors (positions, width)."""
    heads = np.stack(np.split(vectors, num_heads, axis=1))
    scores = np.exp(heads @ heads.transpose(0, 2, 1) / np.sqrt(heads.shape[2]))
    return scores / scores.sum(axis=2, keepdims=True)


def test_relation_loss_equals_numpy_for_different_widths(mask):
    student, teacher = torch.randn(2, 5, 12), torch.randn(2, 5, 24)
    expected = []
    for i, n in enumerate(LENGTHS):
        q, p = (relations(vectors[i, :n].double().numpy(), 3) for vectors in (student, teacher))
        expected.append((p * np.log(p / q)).sum(axis=2).mean())
    np.testing.assert_allclose(losses.relation_loss(student, teacher, mask, 3), expected, rtol=1e-6, atol=1e-6)
    assert losses.relation_loss(student, student, mask, 3).abs().max() < 1e-6


def test_the_gradient_of_relation_loss_is_finite_and_ignores_padding(mask):
    student = torch.randn(2, 5, 12, requires_grad=True)
    losses.relation_loss(student, torch.randn(2, 5, 12), mask, 4).sum().backward()
    assert torch.isfinite(student.grad).all() and student.grad[1, 3:].abs().max() == 0
    assert student.grad[1, :3].abs().min() > 0


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_cross_entropy_sums_over_the_classes_and_has_no_squared_temperature(temperature):
    student, teacher = torch.randn(2, 6, 3)
    p = np.exp(teacher.numpy() / temperature)
    q = np.exp(student.numpy() / temperature)
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = -(p * np.log(q)).sum(1)
    np.testing.assert_allclose(losses.soft_cross_entropy(student, teacher, temperature), expected, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_soft_cross_entropy_is_0_if_student_and_teacher_agree():
    teacher = torch.randn(4, 3)
    student = teacher.clone().requires_grad_()
    losses.soft_cross_entropy(student, teacher).sum().backward()
    assert student.grad.abs().max() < 1e-6


def test_equal_inputs_have_loss_0_and_padding_changes_nothing(mask):
    scores, hidden = torch.randn(2, 4, 5, 5), torch.randn(2, 5, 8)
    assert losses.attention_loss(scores, scores, mask).abs().max() == 0
    assert losses.hidden_loss(hidden, hidden, mask).abs().max() == 0

    other = hidden + 1.0
    longer = torch.nn.functional.pad(mask, (0, 4))
    garbage = torch.full((2, 4, 8), 1e6)
    padded = losses.hidden_loss(torch.cat([hidden, garbage], 1), torch.cat([other, -garbage], 1), longer)
    torch.testing.assert_close(padded, losses.hidden_loss(hidden, other, mask))


def test_cross_entropy_equals_the_definition():
    logits, labels = torch.randn(3, 4), torch.tensor([0, 3, 1])
    expected = [-logits.log_softmax(1)[i, label].item() for i, label in enumerate(labels)]
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), expected, rtol=1e-6, atol=1e-6)


def test_the_loss_of_values_is_the_squared_error():
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [5.0]])
    torch.testing.assert_close(losses.squared_error(student, teacher), torch.tensor([1.0, 9.0]))
    torch.testing.assert_close(
        losses.squared_error(student, torch.tensor([1.0, 4.0]).double()), torch.tensor([0.0, 4.0])
    )
