"""A smaller vocabulary: tokenizer and embedding are cut together to the pieces that the texts use.

What is left out is written with smaller pieces that stay: every single character (or byte) that the tokenizer knows is
kept, so that no text loses a character. Cut between layer-wise and prediction-layer distillation: layers are compared
token by token and need the teacher's own tokenisation, logits do not.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from compress.errors import UserError

TEXTS_AT_ONCE = 1000
SPECIAL = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token", "bos_token", "eos_token")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A cut vocabulary. `kept`: (pieces,) the old number of each piece that stays, in the order of the new ones.

    `coverage`: the share of the texts' tokens that are kept as they were.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: np.ndarray
    coverage: float


def cut_vocabulary(
    tokenizer: PreTrainedTokenizerBase,
    task_texts: Sequence[str],
    corpus: Iterable[str],
    *,
    size: int | None = None,
    coverage: float | None = None,
) -> Cut:
    """Keep the pieces that the task's texts use, and of the others those that the corpus uses most.

    `size`: how many pieces to keep at most; pieces of the task go first where not all fit. Or `coverage`: as many of
    the corpus's as make up that share of its tokens, and all of the task's. Special pieces, single characters and what
    merges need always stay. Raises UserError for a size that these alone exceed, and for tokenizers of another kind
    than WordPiece, BPE and Unigram.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = tokenizer.get_vocab()
    needs = _needs(content["model"])
    task, general = _counts(tokenizer, task_texts), _counts(tokenizer, corpus)
    kept = {piece for piece in vocabulary if _is_single(piece, content["model"])}
    kept |= {token["content"] for token in content["added_tokens"]}
    kept |= set(tokenizer.all_special_tokens)
    kept = _with_needs(kept & vocabulary.keys(), needs)
    if size is not None and len(kept) > size:
        raise UserError(
            f"student.vocabulary.size is {size}; special pieces and single characters alone are {len(kept)}; name more"
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
    return Cut(
        tokenizer=_rebuilt(tokenizer, content, {names[old]: new for new, old in enumerate(numbers.tolist())}),
        kept=numbers,
        coverage=stays / max(1, used.total()),
    )


@torch.no_grad()
def cut_embedding(model: PreTrainedModel, cut: Cut) -> None:
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
    for row in tokens["input_ids"]:
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


def _is_single(piece: str, model: dict[str, Any]) -> bool:
    """Whether a piece is one character, or a word's going on with one."""
    return len(piece.removeprefix(model.get("continuing_subword_prefix") or "")) == 1


def _needs(model: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """For each piece that merges make, the two that it is made of."""
    match model["type"]:
        case "WordPiece" | "Unigram":
            return {}
        case "BPE":
            needs: dict[str, tuple[str, str]] = {}
            for first, second in map(_parts, model["merges"]):
                needs.setdefault(first + second, (first, second))
            return needs
    raise UserError(
        f"student.vocabulary: the tokenizer is a {model['type']}; expected WordPiece, BPE or Unigram; leave the key out"
    )


def _parts(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


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
    tokenizer: PreTrainedTokenizerBase, content: dict[str, Any], numbers: dict[str, int]
) -> PreTrainedTokenizerBase:
    """The tokenizer with these pieces only. `content`: its tokenizer.json, `numbers`: piece -> new number."""
    content = copy.deepcopy(content)
    model = content["model"]
    if model["type"] == "Unigram":
        unknown = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
        by_piece = dict(map(tuple, model["vocab"]))
        in_order = sorted(numbers, key=numbers.__getitem__)
        added = {token["content"] for token in content["added_tokens"]} - by_piece.keys()
        model["vocab"] = [[piece, by_piece[piece]] for piece in in_order if piece not in added]
        model["unk_id"] = None if unknown is None else numbers[unknown]
    else:
        model["vocab"] = {piece: number for piece, number in numbers.items() if piece in model["vocab"]}
        if model["type"] == "BPE":
            model["merges"] = [
                merge for merge in model["merges"] if {*_parts(merge), "".join(_parts(merge))} <= numbers.keys()
            ]
    for token in content["added_tokens"]:
        token["id"] = numbers[token["content"]]
    _renumber(content.get("post_processor"), numbers)
    content["truncation"] = content["padding"] = None
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        **{name: getattr(tokenizer, name) for name in SPECIAL if getattr(tokenizer, name, None) is not None},
    )


def _renumber(part: Any, numbers: dict[str, int]) -> None:
    """Special pieces that a post-processor names, wherever it keeps their numbers."""
    if isinstance(part, list):
        for inner in part:
            _renumber(inner, numbers)
    if not isinstance(part, dict):
        return
    for value in part.values():
        _renumber(value, numbers)
    for key in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [piece, number]
        if isinstance(part.get(key), list):
            part[key] = [part[key][0], numbers[part[key][0]]]
    if isinstance(part.get("special_tokens"), dict):  # TemplateProcessing
        for special in part["special_tokens"].values():
            special["ids"] = [numbers[piece] for piece in special["tokens"]]
