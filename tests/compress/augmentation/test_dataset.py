"""Tests of data augmentation: the replaced words, their candidates, and that the rest of a text does not change."""

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.augmentation_speed.reference import one_at_a_time
from compress.augmentation import dataset
from compress.augmentation.candidates import Candidates, WordSlot, select_candidates
from compress.augmentation.sampling import apply_replacements, sample_augmented_texts
from compress.augmentation.word_vectors import load_vectors
from compress.augmentation.words import load_stop_words, match_case, words_of
from compress.common import distributed
from compress.data.arrow_shards import read_shards
from compress.data.columns import Split
from tiny_bert import rows

ENGLISH = load_stop_words("english")
AWKWARD = [
    "", " ", "\t\n", "the of and it was", "😀 🎬 great 👍🏽!", "这部电影很好看", "a warm film 这部电影 of the year",
    '<br /><b class="fine">great</b> film &amp; cast', 'He said "hi", \'lovely\' and left\tearly', "don't isn't she'll",
    "https://example.org/great/film great", "fine @great #lovely a@great.org", "GREAT Great great", "x" * 5000,
    "great " * 300, "naïve café Ünïcode", "great-great 3great great3", "'great'", "\u202egreat\u0301 film\u200b",
]  # fmt: skip


def split_of(texts: list[str], pairs: list[str] | None = None) -> Split:
    return Split(texts=texts, pairs=pairs, labels=np.arange(len(texts)) % 2)


def rows_in(folder: Path) -> list[dict]:
    return read_shards(dataset.shards_in(folder)).to_list()


# -- words


def replaceable(text: str) -> list[str]:
    return [text[word.start : word.end] for word in words_of(text, ENGLISH) if word.replaceable]


def test_stop_words_numbers_and_single_letters_are_kept():
    assert replaceable("the film was a 2nd rate x of it, 10 fine songs") == ["film", "rate", "fine", "songs"]
    assert replaceable("it was not the one") == []


def test_words_in_markup_links_and_addresses_are_kept():
    assert replaceable('<b class="fine">great</b> film &nbsp; -lrb- dull -rrb-') == ["great", "film", "dull"]
    assert replaceable("see https://great.org/film or www.film.org, mail fine@great.org, @great #film") == ["mail"]


def test_contractions_are_kept_and_quoted_words_are_replaceable():
    assert replaceable("don't she'll l'amour does n't they 're 'great' “fine”") == ["great", "fine"]


def test_hyphens_separate_words_and_combining_marks_do_not():
    assert replaceable("big-screen n\u0303ame café") == ["big", "screen", "café"]


def test_each_han_character_is_a_word():
    assert replaceable("好电影 film") == ["好", "电", "影", "film"]


@pytest.mark.parametrize(
    ("word", "candidate", "expected"),
    [("Good", "fine", "Fine"), ("GOOD", "fine", "FINE"), ("good", "Paris", "Paris"), ("I", "you", "You")],
)
def test_a_candidate_takes_the_case_of_the_word(word, candidate, expected):
    assert match_case(word, candidate) == expected


# -- candidates


def test_candidates_equal_those_of_the_reference_implementation(candidates):
    texts = [text for text, _ in rows(200)]
    texts += [f"a splendid movie and {text}" for text in texts[:20]]
    batched = candidates.of(texts, candidates.nearest_words(texts))
    reference = one_at_a_time(candidates, texts)
    sources = [slot.source for each in reference for slot in each.slots]
    assert sources.count("masked_lm") > 500 and sources.count("vectors") == 40
    assert batched == reference


@pytest.mark.parametrize("tokens_at_once", [1, 64, 100_000])
def test_candidates_do_not_depend_on_the_batch_size(masked_lm, tokens_at_once):
    texts = [text for text, _ in rows(50)]
    words = [[word for word in words_of(text, ENGLISH) if word.replaceable] for text in texts]
    tokenised = masked_lm.tokenise(texts, words, max_length=32)
    queries = [masked_lm.query(text, word) for text in tokenised for word in text.single_tokens]
    assert len(queries) > 100
    expected = masked_lm.most_probable(queries, 6)
    token_ids = masked_lm.most_probable(queries, 6, tokens_at_once=tokens_at_once)
    assert [set(row) for row in token_ids.tolist()] == [set(row) for row in expected.tolist()]


def test_a_word_of_several_tokens_gets_its_candidates_from_vectors(candidates):
    texts = ["the splendid film", "a Splendid actress", "the unheard film"]
    text_candidates = candidates.of(texts, candidates.nearest_words(texts))
    assert [[slot.source for slot in each.slots] for each in text_candidates] == [
        ["vectors", "masked_lm"], ["vectors", "vectors"], ["masked_lm"],
    ]  # fmt: skip
    first = text_candidates[0].slots[0].candidates
    assert len(first) == 5 and "splendid" not in first
    assert text_candidates[1].slots[0].candidates == tuple(word.capitalize() for word in first)
    assert candidates.vectors.missing == {"unheard"}


def test_the_nearest_words_have_the_highest_cosine(table, tmp_path):
    vectors = load_vectors(str(table), cache=tmp_path)
    (nearest,) = vectors.nearest(["splendid"], 6).values()
    lines = [line.split() for line in table.read_text().splitlines()]
    known = {word: np.array(numbers, dtype=float) for word, *numbers in lines if word.isalpha() and len(word) > 1}
    target = known["splendid"]
    cosine = {word: v @ target / np.linalg.norm(v) / np.linalg.norm(target) for word, v in known.items()}
    assert nearest == sorted(known, key=lambda word: -cosine[word])[:6]


def test_each_candidate_has_one_form_and_differs_from_the_word():
    assert select_candidates("good", ["fine", "Fine", "GOOD", "FINE", "nice", "warm"], 3) == ("fine", "nice", "warm")
    assert select_candidates("Good", ["fine", "Fine", "nice"], 3) == ("Fine", "Nice")
    assert select_candidates("good", ["Good"], 3) == ()


def test_the_masked_token_is_not_a_candidate_if_the_tokenizer_drops_accents(candidates):
    text = "a gréat film"
    (text_candidates,) = candidates.of([text], {})
    assert [text[slot.start : slot.end] for slot in text_candidates.slots] == ["gréat", "film"]
    assert "great" not in text_candidates.slots[0].candidates


def test_words_after_the_token_limit_have_no_candidates(candidates):
    text = "great film " * 40
    (text_candidates,) = replace(candidates, max_length=12).of([text], {})
    assert len(text_candidates.slots) == 10 and text_candidates.num_replaceable == 80


# -- sampling

SLOTS = (
    WordSlot(4, 8, ("cast", "plot", "story"), "masked_lm"),
    WordSlot(13, 17, ("cold", "dull"), "vectors"),
)
TEXT = "the film was fine"


def test_words_are_replaced_with_the_probability_and_candidates_are_uniform():
    words: dict[str, int] = {}
    samples = [sample_augmented_texts(TEXT, SLOTS, count=1, probability=0.4, seed=seed).texts for seed in range(3000)]
    augmented_texts = [augmented for texts in samples for augmented in texts]
    assert len(augmented_texts) == pytest.approx(3000 * (1 - 0.36**5), abs=20)
    for augmented in augmented_texts:
        for each in augmented.replaced:
            assert augmented.text[each.start : each.end] not in (each.was, "")
            words[augmented.text[each.start : each.end]] = words.get(augmented.text[each.start : each.end], 0) + 1
    # 0.4 / (1 - 0.6 ** 2) of the samples that change the text change a given word
    share = 0.4 / 0.64
    assert sum(words[word] for word in ("cast", "plot", "story")) / len(augmented_texts) == pytest.approx(
        share, abs=0.04
    )
    assert words["cold"] / len(augmented_texts) == pytest.approx(share / 2, abs=0.04)
    assert words["cast"] / len(augmented_texts) == pytest.approx(share / 3, abs=0.04)


def test_all_augmented_texts_are_returned_if_fewer_exist_than_requested():
    sampled = sample_augmented_texts(TEXT, SLOTS, count=30, probability=0.5, seed=0)
    texts = [augmented.text for augmented in sampled.texts]
    assert len(texts) == len(set(texts)) == 4 * 3 - 1 and TEXT not in texts
    assert sampled.num_repeats == 5 * 30 - len(texts)


def test_replacements_have_the_spans_of_the_new_words():
    augmented = apply_replacements(TEXT, SLOTS, [2, 0])
    assert augmented.text == "the story was cold"
    assert [(augmented.text[r.start : r.end], r.was, r.source) for r in augmented.replaced] == [
        ("story", "film", "masked_lm"), ("cold", "fine", "vectors"),
    ]  # fmt: skip


@given(text=st.text() | st.sampled_from(AWKWARD))
def test_without_replacements_the_text_is_unchanged(text):
    slots = [WordSlot(word.start, word.end, ("x",), "masked_lm") for word in words_of(text, frozenset())]
    assert apply_replacements(text, slots, [-1] * len(slots)).text == text
    assert sample_augmented_texts(text, slots, count=5, probability=0.0, seed=0).texts == []


@given(text=st.text() | st.sampled_from(AWKWARD), seed=st.integers(0, 2**32 - 1))
def test_only_the_replaced_words_change(text, seed):
    slots = [WordSlot(word.start, word.end, ("x", "yy"), "masked_lm") for word in words_of(text, ENGLISH)]
    for augmented in sample_augmented_texts(text, slots, count=3, probability=0.7, seed=seed).texts:
        assert augmented.replaced
        restored, end_of_last = "", 0
        for each in augmented.replaced:
            restored += augmented.text[end_of_last : each.start] + each.was
            end_of_last = each.end
        assert restored + augmented.text[end_of_last:] == text


# -- data sets on disk

SAMPLING = dataset.SamplingOptions(copies_per_text=3, probability=0.4, seed=1)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text() | st.sampled_from(AWKWARD), min_size=1, max_size=8))
def test_with_probability_0_the_files_contain_the_originals_only(candidates, texts):
    for pairs in (None, texts[::-1]):
        with tempfile.TemporaryDirectory() as folder:
            counts = dataset.augment_dataset(
                split_of(texts, pairs), candidates, replace(SAMPLING, probability=0.0), Path(folder)
            )
            augmented_rows = rows_in(Path(folder))
        assert [row["text"] for row in augmented_rows] == texts
        assert [row["varied"] for row in augmented_rows] == [-1] * len(texts)
        assert pairs is None or [row["pair"] for row in augmented_rows] == pairs
        num_texts = len(texts) * (1 if pairs is None else 2)
        assert counts.variants == 0 and counts.missing == SAMPLING.copies_per_text * num_texts


def test_awkward_texts_are_augmented_and_kept_as_they_are(candidates, tmp_path):
    split = split_of(AWKWARD)
    counts = dataset.augment_dataset(
        split, candidates, dataset.SamplingOptions(copies_per_text=4, probability=0.5, seed=0), tmp_path / "a"
    )
    augmented_rows = rows_in(tmp_path / "a")
    assert [row["text"] for row in augmented_rows[: len(AWKWARD)]] == AWKWARD
    assert counts.rows == len(augmented_rows) > len(AWKWARD) + 20
    assert {row["label"] for row in augmented_rows if AWKWARD[row["row"]] == "GREAT Great great"} == {
        AWKWARD.index("GREAT Great great") % 2
    }
    for row in augmented_rows:
        for each in row["replaced"]:
            assert each["was"] in AWKWARD[row["row"]]


def test_an_interrupted_run_resumes_to_the_same_files(candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_TEXTS", 20)
    split = split_of([text for text, _ in rows(90)])
    expected = dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "whole")
    calls = 0

    def interrupt(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "cut", on_progress=interrupt)
    before = dataset.shards_in(tmp_path / "cut")
    assert 1 < len(before) < 6
    assert dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "cut") == expected
    files = [[path.read_bytes() for path in dataset.shards_in(tmp_path / name)] for name in ("whole", "cut")]
    assert len(files[0]) == 6 and files[0] == files[1]
    assert dataset.augment_dataset(
        split, candidates, dataset.SamplingOptions(copies_per_text=3, probability=0.4, seed=2), tmp_path / "other"
    )
    assert rows_in(tmp_path / "other") != rows_in(tmp_path / "whole")


def test_two_processes_share_the_shards_and_write_the_same_files(candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_TEXTS", 20)
    split = split_of([text for text, _ in rows(90)])
    expected = dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "one")

    def raise_timeout(_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(distributed, "count", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with monkeypatch.context() as patched, pytest.raises(TimeoutError):
        patched.setattr(distributed, "all_gather", raise_timeout)
        dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "two")
    assert [path.name for path in dataset.shards_in(tmp_path / "two")] == [
        "variants-00001.arrow",
        "variants-00003.arrow",
    ]
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value])
    assert dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "two") == expected
    files = [[path.read_bytes() for path in dataset.shards_in(tmp_path / name)] for name in ("one", "two")]
    assert len(files[0]) == 6 and files[0] == files[1]


def test_augmented_texts_do_not_depend_on_the_order_of_the_rows(candidates, tmp_path):
    texts = [text for text, _ in rows(60)]
    shuffled = random.Random(0).sample(texts, len(texts))
    texts_by_original = []
    for number, order in enumerate((texts, shuffled)):
        dataset.augment_dataset(split_of(order), candidates, SAMPLING, tmp_path / str(number))
        augmented: dict[str, list[str]] = {}
        for row in rows_in(tmp_path / str(number))[len(texts) :]:
            augmented.setdefault(order[row["row"]], []).append(row["text"])
        texts_by_original.append(augmented)
    assert len(texts_by_original[0]) > 50 and texts_by_original[0] == texts_by_original[1]


def test_tokenise_dataset_gives_the_tokens_of_the_texts(candidates, tokenizer, tmp_path):
    split = split_of(["the film was great"] * 3, ["a warm story", "the cast", "it"])
    dataset.augment_dataset(split, candidates, SAMPLING, tmp_path / "texts")
    encoded = dataset.tokenise_dataset(tmp_path / "texts", tokenizer, tmp_path / "tokens", max_length=16)
    augmented_rows = rows_in(tmp_path / "texts")
    assert encoded.input_names == ["input_ids", "token_type_ids"] and len(augmented_rows) == len(encoded.lengths) > 6
    for row, tokens in zip(augmented_rows, encoded.rows.to_list(), strict=True):
        assert tokens["input_ids"] == tokenizer(row["text"], row["pair"])["input_ids"]


def test_without_vectors_words_of_several_tokens_have_no_candidates(masked_lm):
    candidates = Candidates(masked_lm=masked_lm, vectors=None, stop_words=ENGLISH, count=5, max_length=32)
    (text_candidates,) = candidates.of(["the splendid film"], candidates.nearest_words(["the splendid film"]))
    assert [slot.source for slot in text_candidates.slots] == ["masked_lm"] and text_candidates.num_replaceable == 2
