"""Tests of pruned vocabularies: kept tokens do not change, and no character is lost."""

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


def trained(model_type: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the given type, trained on all texts."""
    match model_type:
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
    special_ids = {token: backend.token_to_id(token) for token in ("[CLS]", "[SEP]")}
    if model_type == "BPE":
        backend.post_processor = processors.RobertaProcessing(
            ("[SEP]", special_ids["[SEP]"]), ("[CLS]", special_ids["[CLS]"]), trim_offsets=False, add_prefix_space=False
        )
    else:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(special_ids.items())
        )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{name}_token": token for name, token in names.items()}
    )


def letters(text: str) -> str:
    return "".join(text.split()).lower()


@pytest.mark.parametrize("model_type", ["WordPiece", "BPE", "Unigram"])
def test_texts_of_the_task_keep_their_tokens_and_other_texts_their_characters(model_type, tmp_path):
    tokenizer = trained(model_type)
    pruned = prune_vocabulary(tokenizer, TASK, [], coverage=1.0)
    assert len(pruned.tokenizer) == len(pruned.kept_ids) < len(tokenizer) and pruned.coverage == 1.0
    for text in TASK:
        before, after = (each(text, "a pair")["input_ids"] for each in (tokenizer, pruned.tokenizer))
        if model_type != "Unigram":  # its tokens compete, so fewer tokens may split a text differently
            assert pruned.kept_ids[after].tolist() == before
        assert pruned.tokenizer.decode(after, skip_special_tokens=True) == tokenizer.decode(
            before, skip_special_tokens=True
        )
    for text in (*CORPUS[:2], ELSEWHERE):
        ids = pruned.tokenizer(text)["input_ids"]
        assert pruned.tokenizer.unk_token_id not in ids
        assert letters(pruned.tokenizer.decode(ids, skip_special_tokens=True)) == letters(text)
    assert len(pruned.tokenizer(CORPUS[0])["input_ids"]) > len(tokenizer(CORPUS[0])["input_ids"])
    pruned.tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert loaded(ELSEWHERE)["input_ids"] == pruned.tokenizer(ELSEWHERE)["input_ids"]
    assert loaded.pad_token_id == pruned.tokenizer.pad_token_id


@pytest.mark.parametrize("model_type", ["WordPiece", "BPE", "Unigram"])
def test_the_size_is_a_limit_up_to_which_tokens_of_the_corpus_are_kept(model_type):
    tokenizer = trained(model_type)
    least = len(prune_vocabulary(tokenizer, [], [], coverage=1.0).kept_ids)
    sizes = [least + 5, least + 40]
    smaller, larger = (prune_vocabulary(tokenizer, TASK, CORPUS, size=size) for size in sizes)
    assert least < len(smaller.kept_ids) <= sizes[0] and least < len(larger.kept_ids) <= sizes[1]
    assert smaller.coverage < larger.coverage <= 1
    with pytest.raises(UserError, match=f"size is 10, but special tokens and single characters alone are {least}"):
        prune_vocabulary(tokenizer, TASK, CORPUS, size=10)


def test_coverage_adds_the_most_frequent_tokens_of_the_corpus():
    tokenizer = trained("WordPiece")
    sizes = [len(prune_vocabulary(tokenizer, TASK, CORPUS, coverage=share).kept_ids) for share in (0.1, 0.6, 1.0)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3


def test_the_embedding_is_pruned_with_the_tokenizer():
    tokenizer = trained("WordPiece")
    torch.manual_seed(0)
    model = BertForSequenceClassification(config(vocab_size=len(tokenizer))).eval()
    pruned = prune_vocabulary(tokenizer, TASK, [], coverage=1.0)
    before = {text: model(**tokenizer(text, return_tensors="pt")).logits for text in TASK[:5]}
    prune_embedding(model, pruned)
    assert model.config.vocab_size == len(pruned.kept_ids) == model.get_input_embeddings().weight.shape[0]
    for text, logits in before.items():
        torch.testing.assert_close(model(**pruned.tokenizer(text, return_tensors="pt")).logits, logits)
    assert model.config.pad_token_id == pruned.tokenizer.pad_token_id


def test_a_word_level_tokenizer_is_refused():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with pytest.raises(UserError, match="the tokenizer is a WordLevel; expected WordPiece, BPE or Unigram"):
        prune_vocabulary(tokenizer, TASK, [], coverage=0.9)


def test_the_kept_ids_are_in_ascending_order():
    kept_ids = prune_vocabulary(trained("BPE"), TASK, [], coverage=1.0).kept_ids
    assert (np.diff(kept_ids) > 0).all()
