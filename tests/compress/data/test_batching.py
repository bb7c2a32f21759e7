import datasets
import numpy as np
import pytest

from compress.data.batching import LengthBucketedBatchSampler, PaddingCollator, SampledRow, WeightedRows

LENGTHS = np.random.default_rng(0).integers(3, 60, 1001).tolist()


def sampler(seed: int = 0, **options) -> LengthBucketedBatchSampler:
    return LengthBucketedBatchSampler(LENGTHS, batch_size=16, seed=seed, batches_per_bucket=10, **options)


def test_each_epoch_contains_every_example_once():
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 63
    assert sorted(sampled.row for batch in batches for sampled in batch) == list(range(1001))
    assert all(sampled.weight == 1 for batch in batches for sampled in batch)
    assert sorted(map(len, batches))[:2] == [9, 16]


def test_the_order_depends_only_on_seed_and_epoch():
    first_sampler = sampler()
    first_sampler.set_epoch(3)
    batches = list(first_sampler)
    second_sampler = sampler()
    second_sampler.set_epoch(3)
    assert batches == list(second_sampler) == list(first_sampler)
    second_sampler.set_epoch(4)
    assert batches != list(second_sampler)
    assert list(sampler(seed=1)) != list(sampler())


def test_a_batch_has_similar_lengths():
    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)
        return padded / sum(LENGTHS) - 1

    unsorted = np.array_split(np.random.default_rng(0).permutation(1001), 63)
    bucketed = [[sampled.row for sampled in batch] for batch in sampler()]
    assert padding(bucketed) < 0.3 * padding(unsorted)


def test_the_collator_pads_each_column_with_its_own_value():
    rows = [
        {"input_ids": [5, 6, 7], "labels": 1, "teacher_logits": [0.5, 1.5]},
        {"input_ids": [5], "labels": 0, "teacher_logits": [2.0, 3.0]},
    ]
    batch = PaddingCollator(9)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["teacher_logits"].tolist() == [[0.5, 1.5], [2.0, 3.0]]


@pytest.mark.parametrize(("num_processes", "micro_batch_size"), [(1, 5), (2, None), (3, 4), (4, 1)])
def test_processes_and_micro_batches_split_the_same_batches(num_processes, micro_batch_size):
    whole = [sorted(sampled.row for sampled in batch) for batch in sampler()]
    shares = [
        LengthBucketedBatchSampler(
            LENGTHS,
            batch_size=16,
            seed=0,
            batches_per_bucket=10,
            micro_batch_size=micro_batch_size,
            share=(rank, num_processes),
        )
        for rank in range(num_processes)
    ]
    parts = [list(share) for share in shares]
    per_step = shares[0].micro_batches
    assert {len(part) for part in parts} == {len(whole) * per_step} == {len(share) for share in shares}
    assert max(len(part) for share in parts for part in share) == shares[0].largest_part
    for step, expected in enumerate(whole):
        step_rows = [
            sampled for share in parts for part in share[step * per_step : (step + 1) * per_step] for sampled in part
        ]
        assert {sampled.weight for sampled in step_rows} <= {0.0, 1.0}
        assert sorted(sampled.row for sampled in step_rows if sampled.weight) == expected
        assert all(sampled.row in expected for sampled in step_rows if not sampled.weight)


def test_a_process_without_rows_gets_a_dummy_row_of_weight_0():
    few = [5, 6, 7]
    shares = [LengthBucketedBatchSampler(few, batch_size=4, seed=0, share=(rank, 4)) for rank in range(4)]
    sampled_rows = [next(iter(share))[0] for share in shares]
    weighted_rows = WeightedRows(datasets.Dataset.from_dict({"input_ids": [[1] * length for length in few]}))
    rows = [weighted_rows[sampled] for sampled in sampled_rows]
    assert sum(row["weight"] for row in rows) == 3 and all(row["input_ids"] for row in rows)
    assert sorted(len(row["input_ids"]) for row in rows if row["weight"]) == few
    assert weighted_rows[SampledRow(1, 0.0)] == {"input_ids": [1] * 6, "weight": 0.0}
