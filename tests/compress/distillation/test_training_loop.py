import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, TrainingArguments

from compress.common.errors import UserError
from compress.data.batching import PaddingCollator
from compress.data.columns import Split
from compress.data.tokenization import encode_split
from compress.distillation import layer_outputs
from compress.distillation.callbacks import latest_checkpoint
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel, Objective, Projections
from compress.distillation.trainer import DistillationTrainer
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.distillation.used_embeddings import used_token_ids
from compress.models.inference import predict_logits
from tiny_bert import config, encode_texts, in_a_recipe, rows


def texts(count: int) -> list[str]:
    return [text for text, _ in rows(count)]


def student() -> BertForSequenceClassification:
    torch.manual_seed(3)
    return BertForSequenceClassification(
        config(
            num_hidden_layers=2,
            hidden_size=16,
            intermediate_size=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def one_step(tmp_path, teacher, tokenizer, *, micro_batch_size: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = DistillationModel(student(), Projections(16, 32), INTERMEDIATE_LAYERS)
    data = encode_texts(texts(8), tokenizer, max_length=32)
    trainer = DistillationTrainer(
        model=model,
        teacher=teacher,
        layer_map=(2, 4),
        lengths=data.lengths,
        batch_size=8,
        micro_batch_size=micro_batch_size,
        train_dataset=data.rows,
        data_collator=PaddingCollator(0),
        args=TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=1,
            learning_rate=0.1,
            optim="sgd",
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
        ),
    )
    with layer_outputs.capture_attention(model.student, teacher):
        trainer.train()
    assert trainer.state.global_step == 1
    return model.state_dict()


@pytest.mark.parametrize("micro_batch_size", [4, 3, 1])
def test_micro_batches_give_the_weights_of_one_batch(tmp_path, teacher, tokenizer, micro_batch_size):
    whole = one_step(tmp_path, teacher, tokenizer, micro_batch_size=8)
    in_parts = one_step(tmp_path, teacher, tokenizer, micro_batch_size=micro_batch_size)
    assert whole.keys() == in_parts.keys()
    for name in whole:
        torch.testing.assert_close(in_parts[name], whole[name], atol=2e-6, rtol=1e-4)


def test_the_teacher_is_not_trained_and_has_no_dropout(tmp_path, teacher, tokenizer):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.train()
    one_step(tmp_path, teacher, tokenizer, micro_batch_size=8)
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_training_lowers_every_loss(tmp_path, teacher, tokenizer):
    model = DistillationModel(student(), Projections(16, 32), INTERMEDIATE_LAYERS)
    with layer_outputs.capture_attention(model.student, teacher):
        result = train(
            model,
            encode_texts(texts(200), tokenizer, max_length=32),
            Schedule(epochs=12, batch_size=16, learning_rate=3e-3),
            TrainContext(
                title="layers", seed=0, checkpoints=tmp_path / "checkpoints", tensorboard=tmp_path / "tensorboard"
            ),
            teacher=teacher,
            layer_map=(2, 4),
        )
    first, last = result.history[0], result.history[-1]
    for name in ("embedding", "hidden", "attention"):
        assert last.parts[name] < first.parts[name]
    assert result.num_steps == 12 * 13
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_the_student_ends_with_its_best_epoch(tmp_path, tokenizer):
    scores = iter([0.5, 0.9, 0.7])
    weights, logits = [], []

    def evaluate(model) -> float:
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        logits.append(predict_logits(model, data))
        return next(scores)

    model = student()
    lines = rows(40)
    split = Split(texts=[t for t, _ in lines], pairs=None, labels=np.array([int(n == "positive") for _, n in lines]))
    data = encode_split(split, tokenizer, max_length=32)
    result = train(
        DistillationModel(model, None, Objective(labels=1.0, task_type="classification")),
        data,
        Schedule(epochs=3, batch_size=16, learning_rate=1e-3),
        TrainContext(title="labels", seed=0, checkpoints=tmp_path, precision="fp32"),
        evaluate=evaluate,
    )
    assert result.best_epoch == 2 and result.dev_scores == [0.5, 0.9, 0.7]
    final = model.state_dict()
    embedding = "bert.embeddings.word_embeddings.weight"
    final[embedding] = final[embedding][used_token_ids(data, len(final[embedding]))]  # the trained rows
    assert all(torch.equal(value, weights[1][name]) for name, value in final.items())
    assert np.array_equal(predict_logits(model, data), logits[1]) and not np.array_equal(logits[1], logits[2])


def test_a_loss_that_is_not_finite_stops_training_with_advice(tmp_path, teacher, tokenizer):
    model = DistillationModel(student(), Projections(16, 32), INTERMEDIATE_LAYERS)
    model.projections.hidden[0].weight.data.fill_(float("nan"))
    data = encode_texts(texts(400), tokenizer, max_length=32)
    schedule = Schedule(epochs=1, batch_size=16, learning_rate=1e-3)
    context = TrainContext(title="layers", seed=0, checkpoints=tmp_path)
    with (
        pytest.raises(UserError, match="layers: the loss is nan at step") as error,
        layer_outputs.capture_attention(model.student, teacher),
    ):
        train(model, data, schedule, context, teacher=teacher, layer_map=(2, 4))
    assert in_a_recipe(error.value).endswith("; lower its learning_rate")


def test_incomplete_checkpoints_are_removed(tmp_path, tokenizer):
    data = encode_texts(texts(16), tokenizer, max_length=32).with_column("labels", np.zeros(16, dtype=int))
    schedule = Schedule(epochs=1, batch_size=16, learning_rate=1e-3, checkpoint_steps=1)
    model = DistillationModel(student(), None, Objective(labels=1.0, task_type="classification"))
    train(model, data, schedule, TrainContext(title="labels", seed=0, checkpoints=tmp_path))
    (tmp_path / "checkpoint-1").rename(tmp_path / "checkpoint-5")
    for step, file in ((10, "model.safetensors"), (15, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if file is not None:
            (folder / file).touch()
    assert latest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_a_stage_interrupted_after_its_last_checkpoint_takes_no_further_step(tmp_path, tokenizer):
    lines = rows(60)
    split = Split(texts=[t for t, _ in lines], pairs=None, labels=np.array([int(n == "positive") for _, n in lines]))
    data = encode_split(split, tokenizer, max_length=32)
    schedule = Schedule(epochs=3, batch_size=16, learning_rate=1e-3, decay="constant_with_warmup", max_steps=6)
    results = []
    for _ in range(2):
        model = student()
        context = TrainContext(title="labels", seed=0, checkpoints=tmp_path)
        trained = train(
            DistillationModel(model, None, Objective(labels=1.0, task_type="classification")),
            data,
            schedule,
            context,
            evaluate=lambda _: 0.5,
        )
        results.append((model.state_dict(), trained.num_steps, trained.dev_scores))
    (first_weights, *first_result), (second_weights, *second_result) = results
    assert first_result == second_result == [6, [0.5, 0.5]]
    assert all(torch.equal(value, second_weights[name]) for name, value in first_weights.items())


def test_max_steps_limits_the_steps_and_never_adds_any(tmp_path, tokenizer):
    data = encode_texts(texts(32), tokenizer, max_length=32).with_column("labels", np.zeros(32, dtype=int))
    for max_steps, expected in ((3, 3), (500, 4), (None, 4)):
        schedule = Schedule(epochs=2, batch_size=16, learning_rate=1e-3, max_steps=max_steps)
        context = TrainContext(title="labels", seed=0, checkpoints=tmp_path / str(max_steps))
        model = DistillationModel(student(), None, Objective(labels=1.0, task_type="classification"))
        assert train(model, data, schedule, context).num_steps == expected


def test_logits_have_the_order_of_the_rows_for_all_batch_sizes(teacher, tokenizer):
    data = encode_texts(texts(50), tokenizer, max_length=32)
    whole = predict_logits(teacher, data)
    assert whole.shape == (50, 2)
    np.testing.assert_allclose(predict_logits(teacher, data, tokens_at_once=50), whole, atol=1e-5)


def train_with_scores(tmp_path, tokenizer, scores: list[float], *, patience: int | None, epochs: int = 6):
    """Train with given dev scores. Returns the result, and the number of evaluations."""
    data = encode_split(Split(texts=texts(16), pairs=None, labels=np.array([0, 1] * 8)), tokenizer, max_length=32)
    model = DistillationModel(student(), None, Objective(labels=1.0, task_type="classification"))
    remaining = iter(scores)
    result = train(
        model,
        data,
        Schedule(epochs=epochs, batch_size=8, learning_rate=1e-3, patience=patience, checkpoint_steps=2),
        TrainContext(title="test", seed=0, checkpoints=tmp_path / "checkpoints", metric="accuracy"),
        evaluate=lambda _: next(remaining),
    )
    return result, len(scores) - len(list(remaining))


@pytest.mark.parametrize(
    ("scores", "patience", "num_epochs", "best"),
    [
        ([0.5, 0.6, 0.6, 0.6, 0.9, 0.9], 2, 4, 2),  # a tie is no better score
        ([0.5, 0.6, 0.6, 0.7, 0.1, 0.2], 2, 6, 4),
        ([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 1, 2, 1),
        ([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], None, 6, 1),
    ],
)
def test_patience_ends_training_after_epochs_without_a_better_score(
    tmp_path, tokenizer, scores, patience, num_epochs, best
):
    result, num_evaluations = train_with_scores(tmp_path, tokenizer, scores, patience=patience)
    assert (num_evaluations, len(result.dev_scores), result.best_epoch) == (num_epochs, num_epochs, best)
    assert result.num_steps == 2 * num_epochs


def test_a_resumed_training_stops_where_the_interrupted_one_would_have_stopped(tmp_path, tokenizer):
    """The interrupted process had scored epochs after its last checkpoint."""
    straight, _ = train_with_scores(tmp_path / "straight", tokenizer, [0.9, 0.1, 0.2, 0.3, 0.4, 0.5], patience=2)
    killed = tmp_path / "killed"
    with pytest.raises(StopIteration):
        train_with_scores(killed, tokenizer, [0.9, 0.1], patience=2)
    assert latest_checkpoint(killed / "checkpoints") is not None
    resumed, _ = train_with_scores(killed, tokenizer, [0.2, 0.3, 0.4, 0.5], patience=2)
    assert resumed.dev_scores == straight.dev_scores == [0.9, 0.1, 0.2]
    assert resumed.num_steps == straight.num_steps and resumed.resumed_at_step > 0


def test_the_score_of_each_epoch_is_printed(tmp_path, tokenizer, capsys):
    train_with_scores(tmp_path, tokenizer, [0.5, 0.25], patience=None, epochs=2)
    printed = capsys.readouterr().err
    assert "test: epoch 1 of 2: dev accuracy 0.500" in printed and "epoch 2 of 2: dev accuracy 0.250" in printed
