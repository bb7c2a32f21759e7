"""The training benchmark: every configuration trains. The tests do not check any timings."""

import json
from dataclasses import asdict, replace

import pytest

from bench.results.measurements import Ratio
from bench.training_speed import ladder
from bench.training_speed.ladder import (
    FUSED,
    LADDER,
    OURS,
    PLAIN,
    PRECISION,
    LadderTiming,
    TrainingConfig,
    TrainingWorkerSpec,
    TrainingWorkload,
)
from bench.training_speed.worker import TrainingWorker
from compress.models.shape import StudentShape
from tiny_bert import rows


def workload_of(teacher_folder, tokenizer) -> TrainingWorkload:
    ids = tokenizer([text for text, _ in rows(24)], return_attention_mask=False)["input_ids"]
    return TrainingWorkload(
        teacher=str(teacher_folder),
        shape=StudentShape(layers=2, width=16, ffn_width=32, heads=4),
        rows=ids,
        used_tokens=list(range(20)),
        num_labels=2,
        task_type="classification",
        batch_size=8,
        max_length=32,
        epochs=4,
    )


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
def test_configurations_train_in_worker_processes(stage, teacher_folder, tokenizer):
    workload = workload_of(teacher_folder, tokenizer)
    timings = ladder.time_training(stage, [PLAIN, OURS], workload, rounds=2, num_threads=1)
    assert [timing.error for timing in timings] == [None, None]
    assert all(len(timing.seconds) == 2 and timing.peak_rss_bytes > 10**8 for timing in timings)
    assert [len(timing.fill_s) for timing in timings] == [0, 2 if stage == "prediction" else 0]
    plain, ours = ladder.training_rows(timings, workload)
    assert plain.input_share > 0 and ours.input_share > 0
    assert plain.speedup_over_plain == Ratio(value=1.0, low=1.0, high=1.0) and ours.speedup_over_plain.value > 0
    json.dumps(asdict(plain))


def test_a_failing_configuration_reports_its_error_and_the_others_continue(teacher_folder, tokenizer):
    broken = TrainingConfig(name="missing TextBrewer", engine="textbrewer")
    workload = workload_of(teacher_folder, tokenizer)
    timings = ladder.time_training("prediction", [broken, OURS], workload, rounds=2, num_threads=1)
    assert "No module named 'textbrewer'" in timings[0].error and timings[1].error is None
    first, second = ladder.training_rows(timings, workload)
    assert first.error and first.examples_per_s is None
    assert second.examples_per_s > 0 and second.speedup_over_plain is None


def test_the_time_to_fill_the_cache_is_spread_over_the_epochs(teacher_folder, tokenizer):
    workload = workload_of(teacher_folder, tokenizer)
    slow = LadderTiming(config=PLAIN, seconds=[8.0, 8.0], input_s=[0.1, 0.1])
    cached = LadderTiming(config=OURS, seconds=[1.0, 1.0], fill_s=[4.0, 4.0], input_s=[0.1, 0.3])
    row = ladder.training_rows([slow, cached], workload)[1]
    assert row.speedup_over_plain.value == pytest.approx(8 / (1 + 4 / 4))
    assert row.examples_per_s == pytest.approx(24 / 2)
    assert row.input_share == pytest.approx(0.2 / 1.0)


def test_the_embeddings_of_all_tokens_in_the_data_set_are_trained(teacher_folder, tokenizer, tmp_path):
    """The rows are a sample of the data set, so they do not contain all of its tokens."""
    workload = workload_of(teacher_folder, tokenizer)
    file = tmp_path / "workload.json"
    file.write_text(json.dumps(asdict(replace(workload, rows=workload.rows[:2]))))
    config = replace(OURS, precision="fp32")
    spec = TrainingWorkerSpec(workload=str(file), stage="prediction", config=config, num_threads=1)
    worker = TrainingWorker(asdict(spec))
    in_rows = {0, *(token for row in workload.rows[:2] for token in row)}
    assert in_rows < set(worker.used_tokens.tolist()) == in_rows | set(range(20)) < set(range(27))


def test_the_ladders_start_with_plain_and_end_with_ours():
    for configs in LADDER.values():
        assert configs[0] is PLAIN and PRECISION in configs and FUSED in configs and configs[-2] is OURS
        assert len({config.name for config in configs}) == len(configs)
