import numpy as np

from compress.batching import LengthBucketedBatchSampler, PaddingCollator

LENGTHS = np.random.default_rng(0).integers(3, 60, 1001).tolist()


def sampler(seed: int = 0) -> LengthBucketedBatchSampler:
    return LengthBucketedBatchSampler(LENGTHS, batch_size=16, seed=seed, batches_per_bucket=10)


def test_every_example_comes_once_and_the_last_partial_batch_counts():
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 63
    assert sorted(index for batch in batches for index in batch) == list(range(1001))
    assert sorted(map(len, batches))[:2] == [9, 16]


def test_the_order_depends_on_seed_and_epoch_alone():
    ours = sampler()
    ours.set_epoch(3)
    first = list(ours)
    fresh = sampler()
    fresh.set_epoch(3)
    assert first == list(fresh) == list(ours)
    fresh.set_epoch(4)
    assert first != list(fresh)
    assert list(sampler(seed=1)) != list(sampler())


def test_batches_hold_like_lengths():
    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * max(LENGTHS[index] for index in batch) for batch in batches)
        return padded / sum(LENGTHS) - 1

    unsorted = np.array_split(np.random.default_rng(0).permutation(1001), 63)
    assert padding(list(sampler())) < 0.3 * padding(unsorted)


def test_the_collator_pads_each_column_with_its_own_value():
    rows = [
        {"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "labels": 1, "teacher_logits": [0.5, 1.5]},
        {"input_ids": [5], "attention_mask": [1], "labels": 0, "teacher_logits": [2.0, 3.0]},
    ]
    batch = PaddingCollator(9)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert batch["teacher_logits"].tolist() == [[0.5, 1.5], [2.0, 3.0]]
