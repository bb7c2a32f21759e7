"""The faults known of the original script of data augmentation, one test each. The numbers are our list's."""

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

DRAW = dataset.SamplingOptions(variants=6, probability=0.5, seed=0)
TEXTS = [text for text, _ in rows(60)]


def made(folder, split, candidates, draw=DRAW):
    counts = dataset.augment_dataset(split, candidates, draw, folder)
    return read_shards(dataset.shards_in(folder)).to_list(), counts


def split_of(texts, pairs=None) -> Split:
    return Split(texts=texts, pairs=pairs, labels=np.arange(len(texts)))


def test_b11_the_partner_of_a_varied_text_is_the_original(candidates, tmp_path):
    split = split_of(TEXTS[:20], TEXTS[20:40])
    found, _ = made(tmp_path / "made", split, candidates)
    varied = [row["varied"] for row in found]
    assert varied.count(-1) == 20 and varied.count(0) > 60 and varied.count(1) > 60
    for row in found:
        text, pair = split.texts[row["row"]], split.pairs[row["row"]]
        assert row["label"] == row["row"]
        if row["varied"] == 0:
            assert row["pair"] == pair and row["text"] != text
        elif row["varied"] == 1:
            assert row["text"] == text and row["pair"] != pair


def test_b12_quotes_tabs_and_commas_come_back_as_they_were(candidates, tmp_path):
    texts = ['He said "hi" to\tthe film', '"a warm, fine" film', "it's \\n 'great' \"", 'great,"story"\r\n']
    found, _ = made(tmp_path / "made", split_of(texts), candidates)
    assert [row["text"] for row in found[:4]] == texts and len(found) > 12
    for row in found[4:]:
        original, rest, end = texts[row["row"]], "", 0
        for each in row["replaced"]:
            rest += row["text"][end : each["start"]] + each["was"]
            end = each["end"]
        assert rest + row["text"][end:] == original


def test_b13_the_model_sees_the_masked_text_alone_and_gives_words_only(tmp_path):
    """A vocabulary with parts of words and punctuation, and a model that would rather put those, or the same word."""
    words = ["film", "story", "great", "warm", "fine", "dull"]
    unwanted = ["##ing", "##s", ".", "!", "x", "9th", "[unused1]"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *unwanted, *words]
    tokenizer = small_tokenizer(pieces)
    model = BertForMaskedLM(config(vocab_size=len(pieces))).eval()
    with torch.no_grad():
        model.cls.predictions.decoder.bias[[*range(5 + len(unwanted)), pieces.index("film")]] = 99.0
    masked_lm = MaskedLM(model, tokenizer)
    seen = []
    model.bert.register_forward_pre_hook(
        lambda _, given, named: seen.extend(zip(given[0].tolist(), named["attention_mask"].tolist(), strict=True)),
        with_kwargs=True,
    )
    texts = ["great film!", "warm story . great film"]
    places = [[word for word in words_of(text, frozenset()) if word.replaceable] for text in texts]
    read = masked_lm.tokenise(texts, places, max_length=16)
    queries = [masked_lm.query(text, word) for text in read for word in text.single]
    best = masked_lm.most_probable(queries, 6)
    shown = {tuple(token for token, real in zip(tokens, mask, strict=True) if real) for tokens, mask in seen}
    assert shown == {query.tokens for query in queries} and len(shown) == 6
    for tokens in shown:
        assert tokens.count(tokenizer.mask_token_id) == 1 and len(tokens) in (5, 7)
    assert {pieces[piece] for row in best.tolist() for piece in row} == set(words)


def test_b13_a_word_is_never_its_own_candidate(candidates):
    found = candidates.of(TEXTS, candidates.nearest_words(TEXTS))
    places = [(text, place) for text, each in zip(TEXTS, found, strict=True) for place in each.places]
    assert len(places) > 200
    for text, place in places:
        assert text[place.start : place.end] not in place.candidates


def test_b14_many_queries_are_one_batch_without_gradients_and_equal_ones_one_query(candidates):
    model = candidates.masked_lm.model
    batches = []
    model.bert.register_forward_pre_hook(lambda _, given: batches.append((len(given[0]), torch.is_grad_enabled())))
    found = candidates.of(TEXTS * 3, {})
    num_asked = sum(size for size, _ in batches)
    num_places = sum(len(each.places) for each in found)
    assert num_places > 600 and num_asked <= num_places / 3
    assert len(batches) < num_asked / 20 and not any(grad for _, grad in batches)
    batches.clear()
    same_but_for_the_masked_word = ["a fine film", "a great film", "a dull film"]
    candidates.of(same_but_for_the_masked_word, {})
    assert sum(size for size, _ in batches) == 1 + 3


def test_b15_texts_longer_than_the_model_go_through(candidates, tmp_path):
    texts = ["great film " * 1000, "warm story", "x" * 9000]
    found, counts = made(tmp_path / "made", split_of(texts), replace(candidates, max_length=64))
    assert [row["text"] for row in found[:3]] == texts
    assert sum(row["row"] == 0 for row in found) == 1 + DRAW.variants
    assert counts.replaceable == 2002 + 1 and counts.from_masked_lm == 62 + 2


def test_b16_as_many_variants_as_were_wanted_all_different_and_the_rest_counted(candidates, tmp_path):
    texts = ["the warm film and a great story with lovely music", "the film", "of the it", "unheard"]
    found, counts = made(tmp_path / "made", split_of(texts), candidates, replace(DRAW, variants=12))
    by_row = [[row["text"] for row in found if row["row"] == number] for number in range(4)]
    assert [len(set(each)) for each in by_row] == [len(each) for each in by_row]
    assert [len(each) for each in by_row] == [1 + 12, 1 + 5, 1, 1]  # five candidates make five variants of one word
    assert counts.missing == 7 + 12 + 12 and counts.variants == 12 + 5 and counts.redrawn > 0


def test_b16_a_word_without_pieces_stays():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##s", "story", "great", "warm"]
    tokenizer = small_tokenizer(pieces, normalizers.Replace("film", ""))
    masked_lm = MaskedLM(BertForMaskedLM(config(vocab_size=len(pieces))).eval(), tokenizer)
    text = "great film story"
    (read,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=16)
    assert [text[word.start : word.end] for word in read.single] == ["great", "story"]


def small_tokenizer(pieces: list[str], *first: normalizers.Normalizer) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([*first, normalizers.BertNormalizer()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{name}_token": f"[{name.upper()}]" for name in names})
