"""Prunes the vocabulary of a student: reduces its tokenizer and its embedding to the tokens that the texts use.

All tokens of a single character (or byte) are kept. The tokenizer splits a word that lost its token into smaller
tokens, so that no text loses a character.

Pruning comes after layer-wise distillation, which compares token by token and needs the teacher's tokenizer. It comes
before prediction-layer distillation, which compares logits only.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from compress.common.errors import UserError
from compress.data.tokenization import encode

TEXTS_AT_ONCE = 1000
SPECIAL = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token")
Json = dict[str, Any]  # an object in tokenizer.json, which the library `tokenizers` writes


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The keys that we need of the object `model` in a tokenizer.json. Keys that are absent have their defaults.

    `vocab`: token -> id; for Unigram, pairs of token and score. `unk_id`: for Unigram, an index into `vocab`.
    """

    type: str
    vocab: Any
    merges: Sequence[str | list[str]] = ()
    unk_id: int | None = None
    continuing_subword_prefix: str | None = None

    @classmethod
    def of(cls, model: Json) -> Self:
        """Read the object `model`."""
        return cls(**{field.name: model[field.name] for field in fields(cls) if field.name in model})


@dataclass(frozen=True, kw_only=True)
class _TokenizerFile:
    """The parts of a tokenizer.json that pruning needs.

    - `content`: the whole file. `model`: the object of that name in it.
    - `model_type`: WordPiece, BPE or Unigram.
    - `prefix`: the prefix of tokens that continue a word.
    - `tokens`: the tokens of the model, without added tokens.
    - `merges`: for BPE, pairs of tokens that merge into one.
    - `scores`: for Unigram, the score of each token. `unknown_token`: for Unigram, the token for unknown characters.
    - `added_tokens`: entries of tokens that the tokenizer takes out of a text before the model splits it, by token.
    """

    content: Json
    model: Json
    model_type: str
    prefix: str
    tokens: frozenset[str]
    merges: list[tuple[str, str]]
    scores: dict[str, float]
    unknown_token: str | None
    added_tokens: dict[str, Json]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Read the file of a tokenizer. Raises UserError for another type of model."""
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        model_object = content["model"]
        model = _Model.of(model_object)
        if model.type not in ("WordPiece", "BPE", "Unigram"):
            raise UserError(f"the tokenizer is a {model.type}; expected WordPiece, BPE or Unigram", option="vocabulary")
        scores = dict(map(tuple, model.vocab)) if model.type == "Unigram" else {}
        return cls(
            content=content,
            model=model_object,
            model_type=model.type,
            prefix=model.continuing_subword_prefix or "",
            tokens=frozenset(scores or model.vocab),
            merges=[_pair(merge) for merge in model.merges],
            scores=scores,
            unknown_token=None if model.unk_id is None else model.vocab[model.unk_id][0],
            added_tokens={entry["content"]: entry for entry in content["added_tokens"]},
        )

    def is_single_character(self, token: str) -> bool:
        """Whether a token is a single character, not counting the prefix."""
        return len(token.removeprefix(self.prefix)) == 1

    def parts_of_merged(self) -> dict[str, tuple[str, str]]:
        """For each token that results from a merge, the two tokens that merge into it."""
        parts: dict[str, tuple[str, str]] = {}
        for first, second in self.merges:
            parts.setdefault(first + second, (first, second))
        return parts

    def pruned(self, new_ids: dict[str, int]) -> Json:
        """The content of the file with these tokens only. `new_ids`: token -> id."""
        return {
            **self.content,
            "model": {**self.model, **self._pruned_model(new_ids)},
            "added_tokens": [{**entry, "id": new_ids[token]} for token, entry in self.added_tokens.items()],
            "post_processor": _with_new_ids(self.content.get("post_processor"), new_ids),
            "truncation": None,
            "padding": None,
        }

    def _pruned_model(self, new_ids: dict[str, int]) -> Json:
        kept = [token for token in sorted(new_ids, key=new_ids.__getitem__) if token in self.tokens]
        if self.model_type == "Unigram":
            unk_id = None if self.unknown_token is None else new_ids[self.unknown_token]
            return {"vocab": [[token, self.scores[token]] for token in kept], "unk_id": unk_id}
        model: Json = {"vocab": {token: new_ids[token] for token in kept}}
        if self.model_type == "BPE":
            model |= {"merges": [pair for pair in self.merges if {*pair, "".join(pair)} <= new_ids.keys()]}
        return model


def _pair(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _with_new_ids(value: Any, new_ids: dict[str, int]) -> Any:
    """A post-processor, or a value in one, with the new ids of its special tokens."""
    match value:
        case [str(token), int()]:  # BertProcessing, RobertaProcessing
            return [token, new_ids[token]]
        case {"ids": list(), "tokens": [*tokens]}:  # TemplateProcessing
            return {**value, "ids": [new_ids[token] for token in tokens]}
        case list():
            return [_with_new_ids(inner, new_ids) for inner in value]
        case dict():
            return {key: _with_new_ids(inner, new_ids) for key, inner in value.items()}
    return value


@dataclass(frozen=True, kw_only=True)
class PrunedVocabulary:
    """A pruned vocabulary.

    `kept_ids`: the old ids of the kept tokens, in the order of their new ids, (tokens,). `coverage`: the share of the
    texts' tokens that are still in the vocabulary.
    """

    tokenizer: PreTrainedTokenizerBase
    kept_ids: np.ndarray
    coverage: float


def prune_vocabulary(
    tokenizer: PreTrainedTokenizerBase,
    task_texts: Sequence[str],
    corpus: Iterable[str],
    *,
    size: int | None = None,
    coverage: float | None = None,
) -> PrunedVocabulary:
    """Keep the tokens that the texts of the task use, and the most frequent tokens of the corpus.

    Limited by one of two options. `size`: the most tokens to keep; tokens of the task come first. `coverage`: keep all
    tokens of the task, and as many of the corpus as make up this share of its tokens. Special tokens, single characters
    and the parts of merged tokens are always kept. Raises UserError for a size that is too small for these, and for
    other tokenizers than WordPiece, BPE and Unigram.
    """
    file = _TokenizerFile.of(tokenizer)
    vocabulary = tokenizer.get_vocab()
    parts = file.parts_of_merged()
    task_counts, corpus_counts = _token_counts(tokenizer, task_texts), _token_counts(tokenizer, corpus)
    kept = {token for token in vocabulary if file.is_single_character(token)}
    kept |= file.added_tokens.keys()
    kept |= set(tokenizer.all_special_tokens)
    kept = _with_parts(kept & vocabulary.keys(), parts)
    if size is not None and len(kept) > size:
        raise UserError(
            f"the vocabulary's size is {size}, but special tokens and single characters alone are {len(kept)}",
            option="vocabulary_size",
        )
    token_of_id = {token_id: token for token, token_id in vocabulary.items()}
    by_frequency = [token_of_id[token_id] for token_id, _ in task_counts.most_common()]
    if coverage is not None:
        by_frequency += _covering_tokens(corpus_counts, token_of_id, coverage)
    else:
        by_frequency += [token_of_id[token_id] for token_id, _ in corpus_counts.most_common()]
    for token in by_frequency:
        added = _with_parts({token}, parts) - kept
        if size is not None and len(kept) + len(added) > size:
            continue
        kept |= added
    kept_ids = np.array(sorted(vocabulary[token] for token in kept))
    all_counts = task_counts + corpus_counts
    num_covered = sum(count for token_id, count in all_counts.items() if token_of_id[token_id] in kept)
    new_ids = {token_of_id[old_id]: new_id for new_id, old_id in enumerate(kept_ids.tolist())}
    return PrunedVocabulary(
        tokenizer=_rebuild_tokenizer(tokenizer, file, new_ids),
        kept_ids=kept_ids,
        coverage=num_covered / max(1, all_counts.total()),
    )


@torch.no_grad()
def prune_embedding(model: PreTrainedModel, pruned: PrunedVocabulary) -> None:
    """Reduce the word embedding to the rows of the kept tokens, in place."""
    old: Any = model.get_input_embeddings()
    pad = pruned.tokenizer.pad_token_id
    new = nn.Embedding(len(pruned.kept_ids), old.embedding_dim, padding_idx=pad, device=old.weight.device)
    new.weight.copy_(old.weight[torch.as_tensor(pruned.kept_ids, device=old.weight.device)])
    model.set_input_embeddings(new)
    model.config.vocab_size = len(pruned.kept_ids)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if getattr(model.config, name, None) is not None:
            setattr(model.config, name, getattr(pruned.tokenizer, name, None))


def _token_counts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Counter[int]:
    """How often each token id occurs in the texts."""
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            _add_counts(counts, tokenizer, batch)
            batch = []
    if batch:
        _add_counts(counts, tokenizer, batch)
    return counts


def _add_counts(counts: Counter[int], tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> None:
    tokens = encode(
        tokenizer,
        texts,
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    for row in tokens.input_ids:
        counts.update(row)


def _covering_tokens(counts: Counter[int], token_of_id: dict[int, str], share: float) -> list[str]:
    """The most frequent tokens that together make up a share of all occurrences."""
    remaining, tokens = share * counts.total(), []
    for token_id, count in counts.most_common():
        if remaining <= 0:
            break
        tokens.append(token_of_id[token_id])
        remaining -= count
    return tokens


def _with_parts(tokens: set[str], parts: dict[str, tuple[str, str]]) -> set[str]:
    """The tokens and, recursively, the tokens that merge into them."""
    all_tokens: set[str] = set()
    pending = list(tokens)
    while pending:
        token = pending.pop()
        if token not in all_tokens:
            all_tokens.add(token)
            pending += parts.get(token, ())
    return all_tokens


def _rebuild_tokenizer(
    tokenizer: PreTrainedTokenizerBase, file: _TokenizerFile, new_ids: dict[str, int]
) -> PreTrainedTokenizerBase:
    """The tokenizer with these tokens only. `new_ids`: token -> id."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(file.pruned(new_ids))),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        split_special_tokens=tokenizer.split_special_tokens,
        **{name: getattr(tokenizer, name) for name in SPECIAL if getattr(tokenizer, name, None) is not None},
    )
