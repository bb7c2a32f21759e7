"""Data augmentation: which words are replaced, by what, and that nothing else of a text changes."""

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.augmentation.reference import one_at_a_time
from compress.augmentation import dataset
from compress.augmentation.candidates import Candidates, WordSlot, select_candidates
from compress.augmentation.sampling import apply_replacements, sample_augmented_texts
from compress.augmentation.word_vectors import load_vectors
from compress.augmentation.words import in_case_of, load_stop_words, words_of
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


def written(folder: Path) -> list[dict]:
    return read_shards(dataset.shards_in(folder)).to_list()


# -- which words


def replaceable(text: str) -> list[str]:
    return [text[word.start : word.end] for word in words_of(text, ENGLISH) if word.replaceable]


def test_stop_words_numbers_and_single_letters_stay():
    assert replaceable("the film was a 2nd rate x of it, 10 fine songs") == ["film", "rate", "fine", "songs"]
    assert replaceable("it was not the one") == []


def test_markup_links_and_addresses_are_no_words_of_the_text():
    assert replaceable('<b class="fine">great</b> film &nbsp; -lrb- dull -rrb-') == ["great", "film", "dull"]
    assert replaceable("see https://great.org/film or www.film.org, mail fine@great.org, @great #film") == ["mail"]


def test_contractions_stay_whole_and_quotes_do_not_hide_a_word():
    assert replaceable("don't she'll l'amour does n't they 're 'great' “fine”") == ["great", "fine"]


def test_hyphens_part_words_and_marks_do_not():
    assert replaceable("big-screen n\u0303ame café") == ["big", "screen", "café"]


def test_each_han_character_is_a_word():
    assert replaceable("好电影 film") == ["好", "电", "影", "film"]


@pytest.mark.parametrize(
    ("word", "candidate", "expected"),
    [("Good", "fine", "Fine"), ("GOOD", "fine", "FINE"), ("good", "Paris", "Paris"), ("I", "you", "You")],
)
def test_case_is_kept(word, candidate, expected):
    assert in_case_of(word, candidate) == expected


# -- which candidates


def test_candidates_are_those_of_one_word_at_a_time(candidates):
    texts = [text for text, _ in rows(200)]
    texts += [f"a splendid movie and {text}" for text in texts[:20]]
    ours = candidates.of(texts, candidates.nearest_words(texts))
    plain = one_at_a_time(candidates, texts)
    sources = [place.source for found in plain for place in found.places]
    assert sources.count("masked_lm") > 500 and sources.count("vectors") == 40
    assert ours == plain


@pytest.mark.parametrize("tokens_at_once", [1, 64, 100_000])
def test_the_batches_change_nothing(masked_lm, tokens_at_once):
    texts = [text for text, _ in rows(50)]
    words = [[word for word in words_of(text, ENGLISH) if word.replaceable] for text in texts]
    read = masked_lm.tokenise(texts, words, max_length=32)
    queries = [masked_lm.query(text, word) for text in read for word in text.single]
    assert len(queries) > 100
    expected = masked_lm.most_probable(queries, 6)
    found = masked_lm.most_probable(queries, 6, tokens_at_once=tokens_at_once)
    assert [set(row) for row in found.tolist()] == [set(row) for row in expected.tolist()]


def test_a_word_in_parts_has_its_candidates_from_vectors(candidates):
    texts = ["the splendid film", "a Splendid actress", "the unheard film"]
    found = candidates.of(texts, candidates.nearest_words(texts))
    assert [[place.source for place in each.places] for each in found] == [
        ["vectors", "masked_lm"], ["vectors", "vectors"], ["masked_lm"],
    ]  # fmt: skip
    first = found[0].places[0].candidates
    assert len(first) == 5 and "splendid" not in first
    assert found[1].places[0].candidates == tuple(word.capitalize() for word in first)
    assert candidates.vectors.missing == {"unheard"}


def test_nearest_words_are_those_of_highest_cosine(table, tmp_path):
    vectors = load_vectors(str(table), cache=tmp_path)
    (found,) = vectors.nearest(["splendid"], 6).values()
    lines = [line.split() for line in table.read_text().splitlines()]
    known = {word: np.array(numbers, dtype=float) for word, *numbers in lines if word.isalpha() and len(word) > 1}
    asked = known["splendid"]
    cosine = {word: v @ asked / np.linalg.norm(v) / np.linalg.norm(asked) for word, v in known.items()}
    assert found == sorted(known, key=lambda word: -cosine[word])[:6]


def test_each_candidate_comes_in_one_form_and_never_the_word_itself():
    assert select_candidates("good", ["fine", "Fine", "GOOD", "FINE", "nice", "warm"], 3) == ("fine", "nice", "warm")
    assert select_candidates("Good", ["fine", "Fine", "nice"], 3) == ("Fine", "Nice")
    assert select_candidates("good", ["Good"], 3) == ()


def test_the_piece_that_was_masked_is_no_candidate_where_the_tokenizer_drops_its_accent(candidates):
    text = "a gréat film"
    (found,) = candidates.of([text], {})
    assert [text[place.start : place.end] for place in found.places] == ["gréat", "film"]
    assert "great" not in found.places[0].candidates


def test_words_behind_the_limit_stay(candidates):
    text = "great film " * 40
    (found,) = replace(candidates, max_length=12).of([text], {})
    assert len(found.places) == 10 and found.num_replaceable == 80


# -- which variants

PLACES = (
    WordSlot(4, 8, ("cast", "plot", "story"), "masked_lm"),
    WordSlot(13, 17, ("cold", "dull"), "vectors"),
)
TEXT = "the film was fine"


def test_about_p_of_the_words_are_replaced_each_candidate_equally_often():
    words: dict[str, int] = {}
    drawn = [sample_augmented_texts(TEXT, PLACES, count=1, probability=0.4, seed=seed).variants for seed in range(3000)]
    variants = [variant for made in drawn for variant in made]
    assert len(variants) == pytest.approx(3000 * (1 - 0.36**5), abs=20)
    for variant in variants:
        for each in variant.replaced:
            assert variant.text[each.start : each.end] not in (each.was, "")
            words[variant.text[each.start : each.end]] = words.get(variant.text[each.start : each.end], 0) + 1
    # of draws that change something: 0.4 / (1 - 0.6 ** 2) of them change a given word
    share = 0.4 / 0.64
    assert sum(words[word] for word in ("cast", "plot", "story")) / len(variants) == pytest.approx(share, abs=0.04)
    assert words["cold"] / len(variants) == pytest.approx(share / 2, abs=0.04)
    assert words["cast"] / len(variants) == pytest.approx(share / 3, abs=0.04)


def test_variants_are_all_there_are_where_more_were_wanted():
    drawn = sample_augmented_texts(TEXT, PLACES, count=30, probability=0.5, seed=0)
    texts = [variant.text for variant in drawn.variants]
    assert len(texts) == len(set(texts)) == 4 * 3 - 1 and TEXT not in texts
    assert drawn.num_again == 5 * 30 - len(texts)


def test_spans_of_replacements_are_those_of_the_new_words():
    variant = apply_replacements(TEXT, PLACES, [2, 0])
    assert variant.text == "the story was cold"
    assert [(variant.text[r.start : r.end], r.was, r.source) for r in variant.replaced] == [
        ("story", "film", "masked_lm"), ("cold", "fine", "vectors"),
    ]  # fmt: skip


@given(text=st.text() | st.sampled_from(AWKWARD))
def test_a_text_of_which_nothing_is_replaced_is_the_text(text):
    places = [WordSlot(word.start, word.end, ("x",), "masked_lm") for word in words_of(text, frozenset())]
    assert apply_replacements(text, places, [-1] * len(places)).text == text
    assert sample_augmented_texts(text, places, count=5, probability=0.0, seed=0).variants == []


@given(text=st.text() | st.sampled_from(AWKWARD), seed=st.integers(0, 2**32 - 1))
def test_only_the_replaced_words_change(text, seed):
    places = [WordSlot(word.start, word.end, ("x", "yy"), "masked_lm") for word in words_of(text, ENGLISH)]
    for variant in sample_augmented_texts(text, places, count=3, probability=0.7, seed=seed).variants:
        assert variant.replaced
        back, end_of_last = "", 0
        for each in variant.replaced:
            back += variant.text[end_of_last : each.start] + each.was
            end_of_last = each.end
        assert back + variant.text[end_of_last:] == text


# -- the whole

DRAW = dataset.SamplingOptions(variants=3, probability=0.4, seed=1)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text() | st.sampled_from(AWKWARD), min_size=1, max_size=8))
def test_with_p_0_the_texts_come_back_from_the_files_and_nothing_else(candidates, texts):
    for pairs in (None, texts[::-1]):
        with tempfile.TemporaryDirectory() as folder:
            counts = dataset.augment_dataset(
                split_of(texts, pairs), candidates, replace(DRAW, probability=0.0), Path(folder)
            )
            made = written(Path(folder))
        assert [row["text"] for row in made] == texts and [row["varied"] for row in made] == [-1] * len(texts)
        assert pairs is None or [row["pair"] for row in made] == pairs
        assert counts.variants == 0 and counts.missing == DRAW.variants * len(texts) * (1 if pairs is None else 2)


def test_awkward_texts_go_through_and_come_out_as_they_were(candidates, tmp_path):
    split = split_of(AWKWARD)
    counts = dataset.augment_dataset(
        split, candidates, dataset.SamplingOptions(variants=4, probability=0.5, seed=0), tmp_path / "a"
    )
    made = written(tmp_path / "a")
    assert [row["text"] for row in made[: len(AWKWARD)]] == AWKWARD
    assert counts.rows == len(made) > len(AWKWARD) + 20
    assert {row["label"] for row in made if AWKWARD[row["row"]] == "GREAT Great great"} == {
        AWKWARD.index("GREAT Great great") % 2
    }
    for row in made:
        for each in row["replaced"]:
            assert each["was"] in AWKWARD[row["row"]]


def test_the_same_files_come_out_of_any_interruption(candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_TEXTS", 20)
    split = split_of([text for text, _ in rows(90)])
    whole = dataset.augment_dataset(split, candidates, DRAW, tmp_path / "whole")
    calls = 0

    def killed(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.augment_dataset(split, candidates, DRAW, tmp_path / "cut", on_progress=killed)
    before = dataset.shards_in(tmp_path / "cut")
    assert 1 < len(before) < 6
    assert dataset.augment_dataset(split, candidates, DRAW, tmp_path / "cut") == whole
    files = [[path.read_bytes() for path in dataset.shards_in(tmp_path / name)] for name in ("whole", "cut")]
    assert len(files[0]) == 6 and files[0] == files[1]
    assert dataset.augment_dataset(
        split, candidates, dataset.SamplingOptions(variants=3, probability=0.4, seed=2), tmp_path / "other"
    )
    assert written(tmp_path / "other") != written(tmp_path / "whole")


def test_processes_divide_the_shards_and_write_the_same_files(candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_TEXTS", 20)
    split = split_of([text for text, _ in rows(90)])
    whole = dataset.augment_dataset(split, candidates, DRAW, tmp_path / "one")

    def waits(_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(distributed, "count", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with monkeypatch.context() as patched, pytest.raises(TimeoutError):
        patched.setattr(distributed, "all_gather", waits)
        dataset.augment_dataset(split, candidates, DRAW, tmp_path / "two")
    assert [path.name for path in dataset.shards_in(tmp_path / "two")] == [
        "variants-00001.arrow",
        "variants-00003.arrow",
    ]
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value])
    assert dataset.augment_dataset(split, candidates, DRAW, tmp_path / "two") == whole
    files = [[path.read_bytes() for path in dataset.shards_in(tmp_path / name)] for name in ("one", "two")]
    assert len(files[0]) == 6 and files[0] == files[1]


def test_a_row_has_the_same_variants_in_any_company(candidates, tmp_path):
    texts = [text for text, _ in rows(60)]
    shuffled = random.Random(0).sample(texts, len(texts))
    variants = []
    for number, order in enumerate((texts, shuffled)):
        dataset.augment_dataset(split_of(order), candidates, DRAW, tmp_path / str(number))
        found: dict[str, list[str]] = {}
        for row in written(tmp_path / str(number))[len(texts) :]:
            found.setdefault(order[row["row"]], []).append(row["text"])
        variants.append(found)
    assert len(variants[0]) > 50 and variants[0] == variants[1]


def test_tokens_are_those_of_the_texts(candidates, tokenizer, tmp_path):
    split = split_of(["the film was great"] * 3, ["a warm story", "the cast", "it"])
    dataset.augment_dataset(split, candidates, DRAW, tmp_path / "texts")
    encoded = dataset.tokenise_dataset(tmp_path / "texts", tokenizer, tmp_path / "tokens", max_length=16)
    made = written(tmp_path / "texts")
    assert encoded.input_names == ["input_ids", "token_type_ids"] and len(made) == len(encoded.lengths) > 6
    for row, tokens in zip(made, encoded.rows.to_list(), strict=True):
        assert tokens["input_ids"] == tokenizer(row["text"], row["pair"])["input_ids"]


def test_missing_vectors_are_none(masked_lm):
    candidates = Candidates(masked_lm=masked_lm, vectors=None, stop_words=ENGLISH, count=5, max_length=32)
    (found,) = candidates.of(["the splendid film"], candidates.nearest_words(["the splendid film"]))
    assert [place.source for place in found.places] == ["masked_lm"] and found.num_replaceable == 2
