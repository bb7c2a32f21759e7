"""One test for each known fault of the original augmentation script, numbered as in our list."""

from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from compress.augmentation import dataset
from compress.augmentation.masked_lm import MaskedLM
from compress.augmentation.words import words_of
from compress.data.arrow_shards import read_shards
from compress.data.columns import Split
from tiny_bert import config, rows

SAMPLING = dataset.SamplingOptions(copies_per_text=6, probability=0.5, seed=0)
TEXTS = [text for text, _ in rows(60)]


def augment(folder, split, candidates, sampling=SAMPLING):
    counts = dataset.augment_dataset(split, candidates, sampling, folder)
    return read_shards(dataset.shards_in(folder)).to_list(), counts


def split_of(texts, pairs=None) -> Split:
    return Split(texts=texts, pairs=pairs, labels=np.arange(len(texts)))


def test_b11_only_one_text_of_a_pair_is_augmented(candidates, tmp_path):
    split = split_of(TEXTS[:20], TEXTS[20:40])
    augmented_rows, _ = augment(tmp_path / "augmented", split, candidates)
    varied = [row["varied"] for row in augmented_rows]
    assert varied.count(-1) == 20 and varied.count(0) > 60 and varied.count(1) > 60
    for row in augmented_rows:
        text, pair = split.texts[row["row"]], split.pairs[row["row"]]
        assert row["label"] == row["row"]
        if row["varied"] == 0:
            assert row["pair"] == pair and row["text"] != text
        elif row["varied"] == 1:
            assert row["text"] == text and row["pair"] != pair


def test_b12_quotes_tabs_and_commas_are_kept(candidates, tmp_path):
    texts = ['He said "hi" to\tthe film', '"a warm, fine" film', "it's \\n 'great' \"", 'great,"story"\r\n']
    augmented_rows, _ = augment(tmp_path / "augmented", split_of(texts), candidates)
    assert [row["text"] for row in augmented_rows[:4]] == texts and len(augmented_rows) > 12
    for row in augmented_rows[4:]:
        original, restored, end = texts[row["row"]], "", 0
        for each in row["replaced"]:
            restored += row["text"][end : each["start"]] + each["was"]
            end = each["end"]
        assert restored + row["text"][end:] == original


def test_b13_the_model_reads_only_the_masked_text_and_candidates_are_whole_words(tmp_path):
    """The model prefers parts of words, punctuation and the masked word itself."""
    words = ["film", "story", "great", "warm", "fine", "dull"]
    unwanted = ["##ing", "##s", ".", "!", "x", "9th", "[unused1]"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *unwanted, *words]
    tokenizer = small_tokenizer(vocabulary)
    model = BertForMaskedLM(config(vocab_size=len(vocabulary))).eval()
    with torch.no_grad():
        model.cls.predictions.decoder.bias[[*range(5 + len(unwanted)), vocabulary.index("film")]] = 99.0
    masked_lm = MaskedLM(model, tokenizer)
    inputs = []
    model.bert.register_forward_pre_hook(
        lambda _, args, kwargs: inputs.extend(zip(args[0].tolist(), kwargs["attention_mask"].tolist(), strict=True)),
        with_kwargs=True,
    )
    texts = ["great film!", "warm story . great film"]
    replaceable = [[word for word in words_of(text, frozenset()) if word.replaceable] for text in texts]
    tokenised = masked_lm.tokenise(texts, replaceable, max_length=16)
    queries = [masked_lm.query(text, word) for text in tokenised for word in text.single_tokens]
    best = masked_lm.most_probable(queries, 6)
    texts_read = {tuple(token for token, real in zip(tokens, mask, strict=True) if real) for tokens, mask in inputs}
    assert texts_read == {query.tokens for query in queries} and len(texts_read) == 6
    for tokens in texts_read:
        assert tokens.count(tokenizer.mask_token_id) == 1 and len(tokens) in (5, 7)
    assert {vocabulary[token_id] for row in best.tolist() for token_id in row} == set(words)


def test_b13_a_word_is_never_its_own_candidate(candidates):
    text_candidates = candidates.of(TEXTS, candidates.nearest_words(TEXTS))
    slots = [(text, slot) for text, each in zip(TEXTS, text_candidates, strict=True) for slot in each.slots]
    assert len(slots) > 200
    for text, slot in slots:
        assert text[slot.start : slot.end] not in slot.candidates


def test_b14_queries_run_in_batches_without_gradients_and_equal_queries_run_once(candidates):
    model = candidates.masked_lm.model
    batches = []
    model.bert.register_forward_pre_hook(lambda _, args: batches.append((len(args[0]), torch.is_grad_enabled())))
    text_candidates = candidates.of(TEXTS * 3, {})
    num_queries = sum(size for size, _ in batches)
    num_slots = sum(len(each.slots) for each in text_candidates)
    assert num_slots > 600 and num_queries <= num_slots / 3
    assert len(batches) < num_queries / 20 and not any(grad for _, grad in batches)
    batches.clear()
    texts_that_differ_in_one_word = ["a fine film", "a great film", "a dull film"]
    candidates.of(texts_that_differ_in_one_word, {})
    assert sum(size for size, _ in batches) == 1 + 3


def test_b15_texts_longer_than_the_token_limit_are_augmented(candidates, tmp_path):
    texts = ["great film " * 1000, "warm story", "x" * 9000]
    augmented_rows, counts = augment(tmp_path / "augmented", split_of(texts), replace(candidates, max_length=64))
    assert [row["text"] for row in augmented_rows[:3]] == texts
    assert sum(row["row"] == 0 for row in augmented_rows) == 1 + SAMPLING.copies_per_text
    assert counts.replaceable == 2002 + 1 and counts.from_masked_lm == 62 + 2


def test_b16_augmented_texts_are_all_different_and_missing_ones_are_counted(candidates, tmp_path):
    texts = ["the warm film and a great story with lovely music", "the film", "of the it", "unheard"]
    augmented_rows, counts = augment(
        tmp_path / "augmented", split_of(texts), candidates, replace(SAMPLING, copies_per_text=12)
    )
    by_row = [[row["text"] for row in augmented_rows if row["row"] == number] for number in range(4)]
    assert [len(set(each)) for each in by_row] == [len(each) for each in by_row]
    assert [len(each) for each in by_row] == [
        1 + 12,
        1 + 5,
        1,
        1,
    ]  # a text with one slot and five candidates has five augmented texts
    assert counts.missing == 7 + 12 + 12 and counts.variants == 12 + 5 and counts.redrawn > 0


def test_b16_a_word_without_tokens_has_no_candidates():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s", "story", "great", "warm"]
    tokenizer = small_tokenizer(vocabulary, normalizers.Replace("film", ""))
    masked_lm = MaskedLM(BertForMaskedLM(config(vocab_size=len(vocabulary))).eval(), tokenizer)
    text = "great film story"
    (tokenised,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=16)
    assert [text[word.start : word.end] for word in tokenised.single_tokens] == ["great", "story"]


def small_tokenizer(vocabulary: list[str], *first: normalizers.Normalizer) -> PreTrainedTokenizerFast:
    backend = Tokenizer(
        models.WordPiece({token: token_id for token_id, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.Sequence([*first, normalizers.BertNormalizer()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{name}_token": f"[{name.upper()}]" for name in names})
