"""The benchmark of training: that each rung trains what it says; the figures themselves are no matter of tests."""

import json

import pytest
from conftest import rows

from bench import training
from bench.training import FUSED, LADDER, OURS, PLAIN, PRECISION, Load, Rung, Trained


def load(teacher_folder, tokenizer) -> Load:
    ids = tokenizer([text for text, _ in rows(24)], return_attention_mask=False)["input_ids"]
    shape = {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4}
    return Load(
        teacher=str(teacher_folder),
        shape=shape,
        rows=ids,
        pieces=list(range(20)),
        num_labels=2,
        batch_size=8,
        max_length=32,
        epochs=4,
    )


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
def test_rungs_train_in_processes_of_their_own(stage, teacher_folder, tokenizer):
    work = load(teacher_folder, tokenizer)
    found = training.measure(stage, [PLAIN, OURS], work, rounds=2, num_threads=1)
    assert [trained.error for trained in found] == [None, None]
    assert all(len(trained.seconds) == 2 and trained.peak_rss_bytes > 10**8 for trained in found)
    assert all(line["input_share"] > 0 for line in training.rows_of(found, work))
    assert [len(trained.fill_s) for trained in found] == [0, 2 if stage == "prediction" else 0]
    lines = training.rows_of(found, work)
    assert lines[0]["against_a"] == {"value": 1.0, "low": 1.0, "high": 1.0} and lines[1]["against_a"]["value"] > 0
    json.dumps(lines)


def test_a_rung_that_cannot_run_says_why_and_the_others_go_on(teacher_folder, tokenizer):
    broken = Rung(name="TextBrewer that is not there", engine="textbrewer")
    found = training.measure("prediction", [broken, OURS], load(teacher_folder, tokenizer), rounds=2, num_threads=1)
    assert "No module named 'textbrewer'" in found[0].error and found[1].error is None
    lines = training.rows_of(found, load(teacher_folder, tokenizer))
    assert "examples_per_s" not in lines[0] and "against_a" not in lines[1]


def test_filling_the_cache_is_counted_over_the_epochs(teacher_folder, tokenizer):
    work = load(teacher_folder, tokenizer)
    slow = Trained(rung=PLAIN, seconds=[8.0, 8.0], input_s=[0.1, 0.1])
    cached = Trained(rung=OURS, seconds=[1.0, 1.0], fill_s=[4.0, 4.0], input_s=[0.1, 0.3])
    line = training.rows_of([slow, cached], work)[1]
    assert line["against_a"]["value"] == pytest.approx(8 / (1 + 4 / 4))
    assert line["examples_per_s"] == pytest.approx(24 / 2)
    assert line["input_share"] == pytest.approx(0.2 / 1.0)


def test_the_ladders_begin_plain_and_end_with_ours():
    for rungs in LADDER.values():
        assert rungs[0] is PLAIN and PRECISION in rungs and FUSED in rungs and rungs[-2] is OURS
        assert len({rung.name for rung in rungs}) == len(rungs)
