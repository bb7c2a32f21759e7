import numpy as np
import pytest

from compress.data import token_lengths
from compress.data.token_lengths import count_tokens, counter_of


def num_words(rows: list[tuple[str, ...]]) -> list[int]:
    return [len(" ".join(row).split()) for row in rows]


def test_all_rows_of_a_small_table_are_counted():
    counts = count_tokens([("a b",), ("a b c d",), ("a",), ("a b c d e f g h i",)], num_words)
    assert counts.counts.tolist() == [2, 4, 1, 9] and counts.longest == 9
    assert not counts.is_sample and counts.basis == "all 4 rows"
    assert counts.share_longer(4) == 1 / 4 and counts.share_cut(4) == pytest.approx(5 / 16)
    assert counts.mean_kept(4) == pytest.approx((2 + 4 + 1 + 4) / 4)


def test_a_large_table_is_sampled_over_all_of_its_rows_with_a_seed(monkeypatch):
    monkeypatch.setattr(token_lengths, "MAX_ROWS", 100)
    rows = [("a",)] * 500 + [("a b c",)] * 500  # the first rows would give a maximum of 1
    first, again, other = (count_tokens(rows, num_words, seed=seed) for seed in (0, 0, 1))
    assert first.is_sample and first.basis == "a random sample of 100 of the 1,000 rows" and first.longest == 3
    assert 0.3 < first.share_longer(1) < 0.7
    assert (first.counts == again.counts).all() and not (first.counts == other.counts).all()


def test_fewer_rows_are_sampled_if_the_texts_are_long(monkeypatch):
    monkeypatch.setattr(token_lengths, "MAX_LETTERS", 10_000)
    monkeypatch.setattr(token_lengths, "MIN_ROWS", 5)
    assert len(count_tokens([("x" * 1000,)] * 50, num_words).counts) == 10
    assert len(count_tokens([("x" * 9000,)] * 50, num_words).counts) == 5
    assert len(count_tokens([("x" * 10,)] * 50, num_words).counts) == 50


def test_tokens_are_counted_without_truncation_and_the_tokenizer_keeps_its_own(tokenizer):
    own = tokenizer.backend_tokenizer
    own.enable_truncation(max_length=4)
    long = " ".join(["film"] * 9)
    assert counter_of(own)([(long,), (long, "film film")]) == [11, 14]
    assert own.truncation["max_length"] == 4
    own.no_truncation()
    assert np.shape(counter_of(own)([])) == (0,)
