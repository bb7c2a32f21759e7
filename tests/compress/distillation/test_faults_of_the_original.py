"""One test for each known fault of the original scripts, numbered as in our list."""

import datasets
import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from compress import losses
from compress.data import token_blocks
from compress.data.batching import PaddingCollator
from compress.data.columns import Split
from compress.data.tasks import load_task
from compress.data.token_blocks import write_token_blocks
from compress.data.tokenization import encode_split
from compress.distillation import layer_outputs
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel, Objective, Projections
from compress.distillation.trainer import DistillationTrainer
from compress.distillation.training_loop import Schedule, TrainContext, train, training_arguments
from compress.models.inference import predict_logits
from pocketbert.recipe.loading import load_recipe
from pocketbert.stage_parts.trainings import schedule_of
from tiny_bert import config, encode_texts, rows

TEXTS = [text for text, _ in rows(50)]


def small(**changes: object) -> BertForSequenceClassification:
    torch.manual_seed(3)
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(
        config(**{"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, **no_dropout, **changes})
    )


@pytest.fixture
def data(tokenizer):
    return encode_texts(TEXTS, tokenizer, max_length=32)


def layer_trainer(tmp_path, teacher, data) -> DistillationTrainer:
    model = DistillationModel(small(), Projections(16, 32), INTERMEDIATE_LAYERS)
    schedule = Schedule(epochs=1, batch_size=16, learning_rate=1e-3)
    context = TrainContext(title="layers", seed=0, checkpoints=tmp_path)
    return DistillationTrainer(
        model=model,
        teacher=teacher,
        layer_map=(2, 4),
        lengths=data.lengths,
        batch_size=16,
        args=training_arguments(schedule, 4, context, model),
        train_dataset=data.rows,
        data_collator=PaddingCollator(data.pad_token_id),
    )


def test_b01_a_task_trains_with_its_own_settings(tokenizer):
    cola = load_recipe("cola")
    schedule = schedule_of(cola.distill.intermediate)
    assert (schedule.epochs, cola.task.max_length) == (50, 64)
    assert schedule_of(load_recipe("mnli").distill.intermediate).epochs == 10
    assert load_recipe("mnli").task.max_length == 128
    for name, value in vars(schedule).items():
        assert value == getattr(cola.distill.intermediate, name, None)  # the stage has no patience
    split = Split(texts=["the film " * 90], pairs=None, labels=np.array([0]))
    assert encode_split(split, tokenizer, max_length=64).lengths.tolist() == [64]


def test_b02_mnli_selects_checkpoints_on_matched_only(tmp_path):
    for name in ("train", "validation_matched", "validation_mismatched"):
        lines = {
            "premise": [f"{name} {index}" for index in range(12)],
            "hypothesis": ["so it is"] * 12,
            "label": [index % 3 for index in range(12)],
        }
        datasets.Dataset.from_dict(lines).to_parquet(tmp_path / f"{name}-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: mnli\n  data_files:\n"
        + "".join(
            f"  - split: {name}\n    path: {name}-*.parquet\n"
            for name in ("train", "validation_matched", "validation_mismatched")
        )
        + "---\n"
    )
    section = load_recipe("mnli").task
    task = load_task(
        name="mnli",
        data=tmp_path,
        subset=section.subset,
        splits=dict(section.splits),
        text=section.text,
        label=section.label,
        labels=section.labels or ["a", "b", "c"],
    )
    assert {text.split()[0] for text in task.dev.texts} == {"validation_matched"}
    assert {text.split()[0] for text in task.test.texts} == {"validation_mismatched"}
    assert not task.selected_on_test


def test_b03_regression_learns_the_values_of_the_teacher_not_the_labels(data):
    student = small(num_labels=1)
    model = DistillationModel(student, None, Objective(prediction=1.0, task_type="regression")).eval()
    batch = {"input_ids": torch.tensor([data.rows[0]["input_ids"]]), "attention_mask": torch.ones(1, data.lengths[0])}
    value = student(**batch).logits.detach()
    assert model(teacher_logits=value, labels=torch.tensor([99.0]), **batch)["prediction"].item() == 0
    assert model(teacher_logits=value + 2, labels=value[0], **batch)["prediction"].item() == pytest.approx(4)


def test_b04_the_soft_cross_entropy_is_not_divided_by_the_number_of_classes():
    student, teacher = torch.randn(2, 4, 3)
    wide = [torch.cat([logits, torch.full((4, 3), -1e4)], dim=1) for logits in (student, teacher)]
    torch.testing.assert_close(losses.soft_cross_entropy(*wide), losses.soft_cross_entropy(student, teacher))


def test_b05_the_teachers_dropout_is_off(tmp_path, teacher, data):
    teacher.train()
    trainer = layer_trainer(tmp_path, teacher, data)
    assert not any(module.training for module in trainer.teacher.modules())


def test_b06_outputs_of_the_teacher_need_no_gradients(tmp_path, teacher, data):
    trainer = layer_trainer(tmp_path, teacher, data)
    trainer.teacher.requires_grad_(True)
    batch = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4)}
    with layer_outputs.capture_attention(trainer.teacher):
        outputs = trainer._teacher_outputs(batch)
    assert len(outputs.hidden) == 3 and not any(tensor.requires_grad for tensor in (*outputs.hidden, *outputs.scores))


def test_b08_a_corpus_is_streamed_and_written_to_the_given_folder_only(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(token_blocks, "SHARD_ROWS", 8)
    monkeypatch.setattr(token_blocks, "TEXTS_AT_ONCE", 4)
    num_unwritten = []
    num_written = [0]

    def texts():
        for index, text in enumerate(TEXTS):
            num_unwritten.append(index - num_written[-1])
            yield text

    write_token_blocks(texts(), tokenizer, tmp_path / "blocks", max_length=32, on_progress=num_written.append)
    assert max(num_unwritten) < 16 and num_written[-1] == len(TEXTS)
    assert {path.name for path in tmp_path.iterdir()} == {"blocks"}


def test_b09_no_token_is_masked_or_changed(tmp_path, tokenizer):
    token_rows = write_token_blocks(TEXTS, tokenizer, tmp_path, max_length=32).rows["input_ids"]
    assert token_rows == tokenizer(TEXTS)["input_ids"]
    assert tokenizer.mask_token_id not in {token_id for row in token_rows for token_id in row}


def test_b10_a_token_block_is_one_sequence_not_a_pair(tmp_path, tokenizer):
    rows = write_token_blocks(TEXTS, tokenizer, tmp_path, max_length=8).rows
    assert rows.column_names == ["input_ids"]
    assert all(row.count(tokenizer.sep_token_id) == 1 for row in rows["input_ids"])


def test_b17_the_logits_of_a_fine_tuned_teacher_equal_those_of_transformers(teacher, data, tokenizer):
    inputs = [tokenizer(text, return_tensors="pt") for text in TEXTS[:9]]
    expected = torch.cat([teacher(**each).logits for each in inputs]).detach().numpy()
    np.testing.assert_allclose(predict_logits(teacher, data)[:9], expected, atol=1e-5)
    assert (expected < 0).any()


@pytest.mark.parametrize("micro_batch_size", [None, 5])
def test_b18_an_epoch_includes_every_row_and_is_scored_once(tmp_path, data, micro_batch_size):
    calls = []
    schedule = Schedule(epochs=2, batch_size=16, learning_rate=1e-3, micro_batch_size=micro_batch_size)
    trained = train(
        DistillationModel(small(), None, Objective(labels=1.0, task_type="classification")),
        data.with_column("labels", np.zeros(50, dtype=int)),
        schedule,
        TrainContext(title="labels", seed=0, checkpoints=tmp_path),
        evaluate=lambda model: float(len(calls.append(1) or calls)),
    )
    assert trained.num_steps == schedule.num_steps(50) == 2 * 4 and len(calls) == 2


def test_b19_the_last_steps_are_not_lost(tmp_path, teacher, data):
    """Five steps with a checkpoint every three steps: student and newest checkpoint are those of step 5."""
    model = DistillationModel(small(), Projections(16, 32), INTERMEDIATE_LAYERS)
    with layer_outputs.capture_attention(model.student, teacher):
        trained = train(
            model,
            data,
            Schedule(epochs=2, batch_size=16, learning_rate=1e-3, max_steps=5, checkpoint_steps=3),
            TrainContext(title="layers", seed=0, checkpoints=tmp_path),
            teacher=teacher,
            layer_map=(2, 4),
        )
    assert trained.num_steps == 5
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-5"]


def test_b20_batches_are_padded_to_their_longest_row_only(tmp_path, teacher, data):
    """Tests in test_flow cover the other part of this fault: an interrupted run resumes."""
    batches = list(layer_trainer(tmp_path, teacher, data).get_train_dataloader())
    for batch in batches:
        assert batch["input_ids"].shape == batch["attention_mask"].shape
        assert batch["input_ids"].shape[1] == batch["attention_mask"].sum(dim=1).max()
    assert len({batch["input_ids"].shape[1] for batch in batches}) > 1


def test_b21_the_prediction_stage_reads_no_layers(data):
    student = small()
    options = []
    student.bert.register_forward_pre_hook(lambda _, args, kwargs: options.append(kwargs), with_kwargs=True)
    model = DistillationModel(student, None, Objective(prediction=1.0, task_type="classification"))
    model(input_ids=torch.tensor([[2, 5, 3]]), attention_mask=torch.ones(1, 3), teacher_logits=torch.zeros(1, 2))
    assert len(options) == 1
    assert not options[0].get("output_hidden_states") and not options[0].get("output_attentions")
    assert not Objective(prediction=1.0, task_type="classification").requested_outputs and model.projections is None


def test_b22_the_teachers_logits_are_computed_once_for_all_epochs(tmp_path, teacher, data):
    calls = []
    teacher.register_forward_pre_hook(lambda *_: calls.append(1))
    logits = predict_logits(teacher, data)
    train(
        DistillationModel(small(), None, Objective(prediction=1.0, task_type="classification")),
        data.with_column("teacher_logits", logits),
        Schedule(epochs=3, batch_size=16, learning_rate=1e-3),
        TrainContext(title="prediction", seed=0, checkpoints=tmp_path),
    )
    assert len(calls) == 1
