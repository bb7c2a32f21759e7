"""A smaller vocabulary: tokenizer and embedding are cut together to the pieces that the texts use.

What is left out is written with smaller pieces that stay: every single character (or byte) that the tokenizer knows is
kept, so that no text loses a character. Cut between layer-wise and prediction-layer distillation: layers are compared
token by token and need the teacher's own tokenisation, logits do not.
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

TEXTS_AT_ONCE = 1000
SPECIAL = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token")
Json = dict[str, Any]  # an object of tokenizer.json, as the library `tokenizers` writes it


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What is read of a tokenizer.json's model; keys that its type lacks keep their defaults.

    `vocab`: piece -> number, or of Unigram pairs of piece and score. `unk_id`: of Unigram, a place in `vocab`.
    """

    type: str
    vocab: Any
    merges: Sequence[str | list[str]] = ()
    unk_id: int | None = None
    continuing_subword_prefix: str | None = None

    @classmethod
    def of(cls, model: Json) -> Self:
        """From the object of that name."""
        return cls(**{field.name: model[field.name] for field in fields(cls) if field.name in model})


@dataclass(frozen=True, kw_only=True)
class _TokenizerFile:
    """A tokenizer.json, and the parts of it that a cut reads.

    `kind`: WordPiece, BPE or Unigram. `prefix`: what marks a piece that continues a word. `pieces`: of the model.
    `merges`: of BPE, the two pieces that become one. `scores`: of Unigram, by piece; `unknown`: its piece for what it
    does not know. `added`: by piece, what the tokenizer takes out of a text before the model sees it.
    """

    content: Json
    model: Json
    kind: str
    prefix: str
    pieces: frozenset[str]
    merges: list[tuple[str, str]]
    scores: dict[str, float]
    unknown: str | None
    added: dict[str, Json]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Raises UserError for a model of another kind."""
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        as_written = content["model"]
        model = _Model.of(as_written)
        if model.type not in ("WordPiece", "BPE", "Unigram"):
            raise UserError(f"the tokenizer is a {model.type}; expected WordPiece, BPE or Unigram", option="vocabulary")
        scores = dict(map(tuple, model.vocab)) if model.type == "Unigram" else {}
        return cls(
            content=content,
            model=as_written,
            kind=model.type,
            prefix=model.continuing_subword_prefix or "",
            pieces=frozenset(scores or model.vocab),
            merges=[_pair(merge) for merge in model.merges],
            scores=scores,
            unknown=None if model.unk_id is None else model.vocab[model.unk_id][0],
            added={token["content"]: token for token in content["added_tokens"]},
        )

    def is_single(self, piece: str) -> bool:
        """Whether a piece is one character, or continues a word with one."""
        return len(piece.removeprefix(self.prefix)) == 1

    def needs(self) -> dict[str, tuple[str, str]]:
        """For each piece that merges make, the two that it is made of."""
        needs: dict[str, tuple[str, str]] = {}
        for first, second in self.merges:
            needs.setdefault(first + second, (first, second))
        return needs

    def cut_to(self, numbers: dict[str, int]) -> Json:
        """The content with these pieces only. `numbers`: piece -> new number."""
        return {
            **self.content,
            "model": {**self.model, **self._model_parts(numbers)},
            "added_tokens": [{**token, "id": numbers[piece]} for piece, token in self.added.items()],
            "post_processor": _renumbered(self.content.get("post_processor"), numbers),
            "truncation": None,
            "padding": None,
        }

    def _model_parts(self, numbers: dict[str, int]) -> Json:
        kept = [piece for piece in sorted(numbers, key=numbers.__getitem__) if piece in self.pieces]
        if self.kind == "Unigram":
            unknown = None if self.unknown is None else numbers[self.unknown]
            return {"vocab": [[piece, self.scores[piece]] for piece in kept], "unk_id": unknown}
        parts: Json = {"vocab": {piece: numbers[piece] for piece in kept}}
        if self.kind == "BPE":
            pairs = [pair for pair in self.merges if {*pair, "".join(pair)} <= numbers.keys()]
            parts |= {"merges": pairs}
        return parts


def _pair(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _renumbered(part: Any, numbers: dict[str, int]) -> Any:
    """A post-processor, or a part of one, with the new numbers of the special pieces that it names."""
    match part:
        case [str(piece), int()]:  # BertProcessing, RobertaProcessing
            return [piece, numbers[piece]]
        case {"ids": list(), "tokens": [*pieces]}:  # TemplateProcessing
            return {**part, "ids": [numbers[piece] for piece in pieces]}
        case list():
            return [_renumbered(inner, numbers) for inner in part]
        case dict():
            return {key: _renumbered(inner, numbers) for key, inner in part.items()}
    return part


@dataclass(frozen=True, kw_only=True)
class PrunedVocabulary:
    """A cut vocabulary. `kept`: (pieces,) the old number of each piece that stays, in the order of the new ones.

    `coverage`: the share of the texts' tokens that are kept as they were.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: np.ndarray
    coverage: float


def prune_vocabulary(
    tokenizer: PreTrainedTokenizerBase,
    task_texts: Sequence[str],
    corpus: Iterable[str],
    *,
    size: int | None = None,
    coverage: float | None = None,
) -> PrunedVocabulary:
    """Keep the pieces that the task's texts use, and of the others those that the corpus uses most.

    `size`: how many pieces to keep at most; pieces of the task go first where not all fit. Or `coverage`: as many of
    the corpus's as make up that share of its tokens, and all of the task's. Special pieces, single characters and what
    merges need always stay. Raises UserError for a size that these alone exceed, and for tokenizers of another kind
    than WordPiece, BPE and Unigram.
    """
    file = _TokenizerFile.of(tokenizer)
    vocabulary = tokenizer.get_vocab()
    needs = file.needs()
    task, general = _counts(tokenizer, task_texts), _counts(tokenizer, corpus)
    kept = {piece for piece in vocabulary if file.is_single(piece)}
    kept |= file.added.keys()
    kept |= set(tokenizer.all_special_tokens)
    kept = _with_needs(kept & vocabulary.keys(), needs)
    if size is not None and len(kept) > size:
        raise UserError(
            f"the vocabulary's size is {size}; special pieces and single characters alone are {len(kept)}; expected "
            "more",
            option="vocabulary_size",
        )
    names = {number: piece for piece, number in vocabulary.items()}
    by_use = [names[number] for number, _ in task.most_common()]
    if coverage is not None:
        by_use += _covering(general, names, coverage)
    else:
        by_use += [names[number] for number, _ in general.most_common()]
    for piece in by_use:
        more = _with_needs({piece}, needs) - kept
        if size is not None and len(kept) + len(more) > size:
            continue
        kept |= more
    numbers = np.array(sorted(vocabulary[piece] for piece in kept))
    used = task + general
    stays = sum(count for number, count in used.items() if names[number] in kept)
    return PrunedVocabulary(
        tokenizer=_rebuilt(tokenizer, file, {names[old]: new for new, old in enumerate(numbers.tolist())}),
        kept=numbers,
        coverage=stays / max(1, used.total()),
    )


@torch.no_grad()
def prune_embedding(model: PreTrainedModel, cut: PrunedVocabulary) -> None:
    """Keep the embedding's rows of the pieces that stay, in place."""
    old: Any = model.get_input_embeddings()
    pad = cut.tokenizer.pad_token_id
    new = nn.Embedding(len(cut.kept), old.embedding_dim, padding_idx=pad, device=old.weight.device)
    new.weight.copy_(old.weight[torch.as_tensor(cut.kept, device=old.weight.device)])
    model.set_input_embeddings(new)
    model.config.vocab_size = len(cut.kept)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if getattr(model.config, name, None) is not None:
            setattr(model.config, name, getattr(cut.tokenizer, name, None))


def _counts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Counter[int]:
    found: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            _count(tokenizer, batch, found)
            batch = []
    if batch:
        _count(tokenizer, batch, found)
    return found


def _count(tokenizer: PreTrainedTokenizerBase, texts: list[str], found: Counter[int]) -> None:
    tokens = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )
    for row in tokens.input_ids:
        found.update(row)


def _covering(counts: Counter[int], names: dict[int, str], share: float) -> list[str]:
    """The most frequent pieces that together make up the share."""
    wanted, found = share * counts.total(), []
    for number, count in counts.most_common():
        if wanted <= 0:
            break
        found.append(names[number])
        wanted -= count
    return found


def _with_needs(pieces: set[str], needs: dict[str, tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(pieces)
    while waiting:
        piece = waiting.pop()
        if piece not in found:
            found.add(piece)
            waiting += needs.get(piece, ())
    return found


def _rebuilt(
    tokenizer: PreTrainedTokenizerBase, file: _TokenizerFile, numbers: dict[str, int]
) -> PreTrainedTokenizerBase:
    """The tokenizer with these pieces only. `numbers`: piece -> new number."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(file.cut_to(numbers))),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        **{name: getattr(tokenizer, name) for name in SPECIAL if getattr(tokenizer, name, None) is not None},
    )
