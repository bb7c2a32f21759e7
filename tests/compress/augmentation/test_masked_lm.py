"""Tests of masked language models as sources of candidates, and of training a missing head."""

import json
import random
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    MPNetConfig,
    MPNetForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

from compress.augmentation import mlm_head
from compress.augmentation.candidates import Candidates
from compress.augmentation.masked_lm import MaskedLM, logits_at
from compress.augmentation.words import words_of
from compress.common.errors import UserError
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models.loading import load_masked_lm
from compress.models.sources import has_masked_lm_head
from compress.results import MaskedLMAccuracy
from tiny_bert import BAD, GOOD, NEUTRAL, config, encode_texts, in_a_recipe, rows

TEXTS = [text for text, _ in rows(300)]
SMALL = {"vocab_size": 27, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def bpe(marked: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the mark Ġ, as in RoBERTa, or with the mark ▁, as in SentencePiece."""
    mark = "Ġ" if marked else "▁"
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz", "G", "!", ".", mark})
    tokens, merges = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters], []
    for word in ("great", "film", "fine"):
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            tokens.append(word[: end + 1])
        merges.append((mark, word))
        tokens.append(mark + word)
    backend = Tokenizer(
        models.BPE({token: token_id for token_id, token in enumerate(dict.fromkeys(tokens))}, merges, unk_token="<unk>")
    )
    if marked:
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    else:
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def roberta(tokenizer: PreTrainedTokenizerFast) -> MaskedLM:
    torch.manual_seed(0)
    shape = {**SMALL, "vocab_size": len(tokenizer), "max_position_embeddings": 40, "pad_token_id": 1}
    return MaskedLM(RobertaForMaskedLM(RobertaConfig(**shape)).eval(), tokenizer)


def test_tokens_with_the_mark_replace_words_after_a_space_only():
    masked_lm = roberta(bpe(marked=True))
    text = "great film 'fine' xyz"
    (tokenised,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=30)
    assert [text[word.start : word.end] for word in tokenised.single_tokens] == ["great", "film", "fine"]
    queries = [masked_lm.query(tokenised, word) for word in tokenised.single_tokens]
    assert [query.has_mark for query in queries] == [False, True, False]
    best = masked_lm.most_probable(queries, 3)
    best_tokens = [[masked_lm.tokenizer.convert_ids_to_tokens(token_id) for token_id in row] for row in best.tolist()]
    assert [sorted(row) for row in best_tokens] == [
        ["film", "fine", "great"], ["Ġfilm", "Ġfine", "Ġgreat"], ["film", "fine", "great"],
    ]  # fmt: skip
    candidates = Candidates(masked_lm=masked_lm, vectors=None, stop_words=frozenset(), count=5)
    assert [slot.candidates for slot in candidates.of([text], {})[0].slots] == [
        ("film", "fine"), ("fine", "great"), ("film", "great"),
    ]  # fmt: skip


def test_a_character_of_several_byte_tokens_is_not_a_single_token():
    masked_lm = roberta(bpe(marked=True))
    text = "great 电 film"
    (tokenised,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=30)
    assert [text[word.start : word.end] for word in tokenised.single_tokens] == ["great", "film"]


def test_a_slot_that_no_token_fits_has_no_candidates():
    """In this vocabulary, every word needs a space before it."""
    masked_lm = roberta(bpe(marked=True))
    masked_lm.words.fits_unmarked[:] = False
    text = "great film"
    (tokenised,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=30)
    best = masked_lm.most_probable([masked_lm.query(tokenised, word) for word in tokenised.single_tokens], 5)
    assert best[0].tolist() == [-1] * 5 and (best[1] >= 0).sum() == 3
    candidates = Candidates(masked_lm=masked_lm, vectors=None, stop_words=frozenset(), count=5)
    assert [slot.start for slot in candidates.of([text], {})[0].slots] == [6]


def test_candidates_from_sentencepiece_have_no_mark():
    masked_lm = roberta(bpe(marked=False))
    text = "great film!"
    (tokenised,) = masked_lm.tokenise([text], [words_of(text, frozenset())], max_length=30)
    assert [text[word.start : word.end] for word in tokenised.single_tokens] == ["great", "film"]
    candidates = Candidates(masked_lm=masked_lm, vectors=None, stop_words=frozenset(), count=5)
    assert candidates.of([text], {})[0].slots[1].candidates == ("fine", "great")


def test_a_vocabulary_without_marks_is_refused():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<mask>": 1, "great": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", mask_token="<mask>")
    with pytest.raises(UserError, match="a WordLevel vocabulary that marks neither"):
        MaskedLM(BertForMaskedLM(config(vocab_size=3)), tokenizer)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "albert", "mpnet"])
def test_logits_at_positions_equal_those_of_the_whole_sequence(architecture):
    torch.manual_seed(0)
    makers = {
        "bert": lambda: BertForMaskedLM(config()),
        "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SMALL, max_position_embeddings=40)),
        "distilbert": lambda: DistilBertForMaskedLM(
            DistilBertConfig(vocab_size=27, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        ),
        "electra": lambda: ElectraForMaskedLM(ElectraConfig(**SMALL, embedding_size=16)),
        "albert": lambda: AlbertForMaskedLM(AlbertConfig(**SMALL, embedding_size=16)),
        "mpnet": lambda: MPNetForMaskedLM(MPNetConfig(**SMALL)),
    }  # fmt: skip
    model = makers[architecture]().eval()
    tokens = torch.randint(5, 27, (6, 12))
    positions = torch.randint(0, 12, (6, 2))
    with torch.no_grad():
        whole = model(input_ids=tokens).logits
        with logits_at(model, positions):
            logits = model(input_ids=tokens).logits
        after = model(input_ids=tokens).logits
    assert logits.shape == (6, 2, 27)
    torch.testing.assert_close(logits, whole.gather(1, positions[..., None].expand(-1, -1, 27)))
    torch.testing.assert_close(after, whole)


# -- the head


def test_masked_positions_depend_on_the_row_only():
    tokens = torch.randint(5, 27, (8, 20))
    tokens[:, 0], tokens[:, -1] = 2, 3
    mask = torch.ones_like(tokens)
    positions, counts = mlm_head.masked_positions(tokens, mask, [0, 1, 2, 3, 4], seed=0)
    assert counts.shape == (8, 3) and counts.all() and ((positions > 0) & (positions < 19)).all()
    padded = torch.cat([tokens, torch.zeros(8, 7, dtype=torch.long)], dim=1)
    longer = torch.cat([mask, torch.zeros(8, 7, dtype=torch.long)], dim=1)
    padded_positions, _ = mlm_head.masked_positions(padded[[5]], longer[[5]], [0, 1, 2, 3, 4], seed=0)
    assert padded_positions.tolist() == positions[[5]].tolist()
    others, _ = mlm_head.masked_positions(tokens, mask, [0, 1, 2, 3, 4], seed=1)
    assert others.tolist() != positions.tolist()
    many = torch.randint(5, 27, (4000, 20))
    sampled, _ = mlm_head.masked_positions(many, torch.ones_like(many), [], seed=0)
    shares = torch.bincount(sampled.flatten(), minlength=20) / len(many)
    torch.testing.assert_close(shares, torch.full((20,), 0.15), atol=0.025, rtol=0)


def test_a_row_of_special_tokens_only_has_loss_0(tokenizer):
    tokens = torch.tensor([[2, 3, 0, 0], [2, 7, 9, 3]])
    model = mlm_head.MaskedLanguageModel(BertForMaskedLM(config()).eval(), tokenizer, frozen=True, seed=0)
    losses = model(input_ids=tokens, attention_mask=(tokens != 0).long())["masked"]
    assert losses[0] == 0 and losses[1] > 0


@pytest.mark.parametrize("architecture", ["distilbert", "roberta"])
def test_heads_of_other_architectures_can_be_trained(architecture, tokenizer, tmp_path):
    makers = {
        "distilbert": lambda: DistilBertModel(
            DistilBertConfig(vocab_size=27, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        ),
        "roberta": lambda: RobertaModel(RobertaConfig(**SMALL, max_position_embeddings=40, pad_token_id=0)),
    }
    makers[architecture]().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    data = encode_texts(TEXTS[:64], tokenizer, max_length=32)
    model = load_masked_lm(str(tmp_path / "model"), new_head=True)
    context = TrainContext(title="head", seed=0, checkpoints=tmp_path, precision="fp32", console=Console(quiet=True))
    schedule = Schedule(epochs=10, batch_size=16, learning_rate=5e-3)
    trained = mlm_head.train_head(model, tokenizer, data, data, schedule, context, frozen=False)
    assert trained.history[-1].parts["masked"] < trained.history[0].parts["masked"]
    model.save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    assert MaskedLM(load_masked_lm(str(tmp_path / "trained")), tokenizer).words.mark == ""


@pytest.mark.parametrize("frozen", [True, False])
def test_the_head_learns_and_its_accuracy_is_measured(tokenizer, base_folder, tmp_path, frozen):
    generator = random.Random(0)
    words = [*GOOD, *BAD, *NEUTRAL] * 2
    texts = [
        " ".join(words[start : start + 10]) for start in generator.choices(range(22), k=400)
    ]  # each word determines the next
    data = encode_texts(texts[100:], tokenizer, max_length=32)
    held_out = encode_texts(texts[:100], tokenizer, max_length=32)
    model = load_masked_lm(str(base_folder), new_head=True)
    before = {name: weight.clone() for name, weight in model.base_model.state_dict().items()}
    untrained = mlm_head.accuracy(model, tokenizer, held_out)
    schedule = Schedule(epochs=8, batch_size=16, learning_rate=5e-3)
    context = TrainContext(title="head", seed=0, checkpoints=tmp_path, precision="fp32", console=Console(quiet=True))
    trained = mlm_head.train_head(model, tokenizer, data, held_out, schedule, context, frozen=frozen)
    accuracy = mlm_head.accuracy(model, tokenizer, held_out)
    assert accuracy.num_masked == 4 * len(held_out.lengths) == 400
    assert accuracy.top1 == max(trained.dev_scores) > untrained.top1 + 0.03
    assert trained.history[-1].parts["masked"] < trained.history[0].parts["masked"] - 0.5
    after = model.base_model.state_dict()
    same = all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert same == frozen
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_batched_accuracy_equals_accuracy_row_by_row(tokenizer, base_folder):
    held_out = encode_texts(TEXTS[:40], tokenizer, max_length=32)
    model = load_masked_lm(str(base_folder), new_head=True)
    hits, num_masked = {1: 0, 15: 0}, 0
    for row in held_out.rows:
        tokens = torch.tensor([row["input_ids"]])
        positions, _ = mlm_head.masked_positions(
            tokens, torch.ones_like(tokens), tokenizer.all_special_ids, seed=0, share=1.0
        )
        for position in positions[0, :4].tolist():
            masked = tokens.clone()
            masked[0, position] = tokenizer.mask_token_id
            with torch.no_grad():
                best = model(input_ids=masked).logits[0, position].argsort(descending=True)
            for count in hits:
                hits[count] += int(tokens[0, position] in best[:count])
            num_masked += 1
    assert mlm_head.accuracy(model, tokenizer, held_out) == MaskedLMAccuracy(
        top1=hits[1] / num_masked, top15=hits[15] / num_masked, num_masked=num_masked
    )


def test_an_electra_discriminator_is_not_a_masked_language_model(tmp_path):
    for number, class_name in enumerate(["ElectraForPreTraining", "BertForPreTraining", "ElectraForMaskedLM"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        model_type = "electra" if "Electra" in class_name else "bert"
        (folder / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": [class_name]}))
        assert has_masked_lm_head(str(folder)) == (class_name != "ElectraForPreTraining")


def test_the_error_for_a_model_without_a_head_gives_the_remedy(base_folder):
    with pytest.raises(UserError, match=r"ships without a masked-language-model head .*ForMaskedLM\)$") as error:
        load_masked_lm(str(base_folder))
    assert in_a_recipe(error.value).endswith("augment.masked_lm.train_head: {corpus: ...}")


def test_candidates_in_bf16_are_nearly_those_in_fp32(candidates):
    masked_lm = MaskedLM(candidates.masked_lm.model, candidates.masked_lm.tokenizer, precision="bf16")
    exact = candidates.of(TEXTS[:50], {})
    in_bf16 = replace(candidates, masked_lm=masked_lm).of(TEXTS[:50], {})
    both = [
        (set(exact_slot.candidates), set(bf16_slot.candidates))
        for exact_text, bf16_text in zip(exact, in_bf16, strict=True)
        for exact_slot, bf16_slot in zip(exact_text.slots, bf16_text.slots, strict=True)
    ]
    assert len(both) > 100
    assert sum(len(one & two) for one, two in both) > 0.95 * sum(len(one) for one, _ in both)
