"""Vocabularies cut with their embeddings: what stays is as it was, and no character is lost."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from compress.common.errors import UserError
from compress.models.vocabulary import prune_embedding, prune_vocabulary
from tiny_bert import config, rows

TASK = [text for text, _ in rows(120)]
CORPUS = ["counting the unaccountable accounts of accountants", "jumping jumpers jumped over counters"] * 30
ELSEWHERE = "Zebra XYZ quick-witted jackdaws love my big sphinx of quartz!"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def trained(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the given kind, trained on all texts."""
    match kind:
        case "WordPiece":
            backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
            backend.normalizer = normalizers.BertNormalizer()
            backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            backend.decoder = decoders.WordPiece()
            trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=SPECIAL)
        case "BPE":
            backend = Tokenizer(models.BPE())
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            backend.decoder = decoders.ByteLevel()
            trainer = trainers.BpeTrainer(
                vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
            )
        case "Unigram":
            backend = Tokenizer(models.Unigram())
            backend.pre_tokenizer = pre_tokenizers.Metaspace()
            backend.decoder = decoders.Metaspace()
            trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]")
    backend.train_from_iterator([*TASK, *CORPUS, ELSEWHERE, ELSEWHERE.lower()] * 3, trainer)
    numbers = {piece: backend.token_to_id(piece) for piece in ("[CLS]", "[SEP]")}
    if kind == "BPE":
        backend.post_processor = processors.RobertaProcessing(
            ("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]), trim_offsets=False, add_prefix_space=False
        )
    else:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(numbers.items())
        )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{name}_token": piece for name, piece in names.items()}
    )


def letters(text: str) -> str:
    return "".join(text.split()).lower()


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])
def test_texts_of_the_task_keep_their_pieces_and_others_their_characters(kind, tmp_path):
    tokenizer = trained(kind)
    cut = prune_vocabulary(tokenizer, TASK, [], coverage=1.0)
    assert len(cut.tokenizer) == len(cut.kept) < len(tokenizer) and cut.coverage == 1.0
    for text in TASK:
        before, after = (each(text, "a pair")["input_ids"] for each in (tokenizer, cut.tokenizer))
        if kind != "Unigram":  # its pieces compete: with fewer, a text may be cut elsewhere
            assert cut.kept[after].tolist() == before
        assert cut.tokenizer.decode(after, skip_special_tokens=True) == tokenizer.decode(
            before, skip_special_tokens=True
        )
    for text in (*CORPUS[:2], ELSEWHERE):
        ids = cut.tokenizer(text)["input_ids"]
        assert cut.tokenizer.unk_token_id not in ids
        assert letters(cut.tokenizer.decode(ids, skip_special_tokens=True)) == letters(text)
    assert len(cut.tokenizer(CORPUS[0])["input_ids"]) > len(tokenizer(CORPUS[0])["input_ids"])
    cut.tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again(ELSEWHERE)["input_ids"] == cut.tokenizer(ELSEWHERE)["input_ids"]
    assert again.pad_token_id == cut.tokenizer.pad_token_id


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "Unigram"])
def test_a_size_is_kept_to_and_the_corpus_fills_it(kind):
    tokenizer = trained(kind)
    least = len(prune_vocabulary(tokenizer, [], [], coverage=1.0).kept)
    sizes = [least + 5, least + 40]
    cuts = [prune_vocabulary(tokenizer, TASK, CORPUS, size=size) for size in sizes]
    for cut, size in zip(cuts, sizes, strict=True):
        assert least < len(cut.kept) <= size
    assert cuts[0].coverage < cuts[1].coverage <= 1
    with pytest.raises(UserError, match=f"size is 10; special pieces and single characters alone are {least}"):
        prune_vocabulary(tokenizer, TASK, CORPUS, size=10)


def test_coverage_adds_the_most_used_pieces_of_the_corpus():
    tokenizer = trained("WordPiece")
    found = [len(prune_vocabulary(tokenizer, TASK, CORPUS, coverage=share).kept) for share in (0.1, 0.6, 1.0)]
    assert found == sorted(found) and len(set(found)) == 3


def test_the_embedding_is_cut_with_the_tokenizer():
    tokenizer = trained("WordPiece")
    torch.manual_seed(0)
    model = BertForSequenceClassification(config(vocab_size=len(tokenizer))).eval()
    cut = prune_vocabulary(tokenizer, TASK, [], coverage=1.0)
    before = {text: model(**tokenizer(text, return_tensors="pt")).logits for text in TASK[:5]}
    prune_embedding(model, cut)
    assert model.config.vocab_size == len(cut.kept) == model.get_input_embeddings().weight.shape[0]
    for text, logits in before.items():
        torch.testing.assert_close(model(**cut.tokenizer(text, return_tensors="pt")).logits, logits)
    assert model.config.pad_token_id == cut.tokenizer.pad_token_id


def test_a_tokenizer_of_whole_words_is_refused():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(UserError, match="the tokenizer is a WordLevel; expected WordPiece, BPE or Unigram"):
        prune_vocabulary(tokenizer, TASK, [], coverage=0.9)


def test_the_kept_numbers_rise():
    kept = prune_vocabulary(trained("BPE"), TASK, [], coverage=1.0).kept
    assert (np.diff(kept) > 0).all()
