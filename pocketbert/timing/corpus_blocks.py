"""The number of token blocks in a corpus, and some of them, read in a few seconds. Loads torch."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.data.tasks import Task
from compress.data.tokenization import TokenDataset, split_into_blocks, token_dataset
from pocketbert.data.corpora import HUB, corpus_path, error_context, texts_of
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.training import GeneralSection

SAMPLED_TEXTS, SAMPLED_LETTERS = 500, 300_000
CHECK_EVERY = 100  # texts


@dataclass(frozen=True, kw_only=True)
class CorpusBlocks:
    """Blocks of the first texts of a corpus. `num_blocks`: of the whole corpus.

    `basis`: how many texts were read, if not all; `is_bound`: whether `num_blocks` may be too low.
    """

    sample: TokenDataset
    num_blocks: int
    basis: str | None = None
    is_bound: bool = False


def read_blocks(
    section: GeneralSection | TrainHeadSection,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    limit_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> CorpusBlocks:
    """Read the corpus of a section for at most `limit_s`, and estimate the rest from its size. Raises UserError."""
    deadline, lengths, sample = clock() + limit_s, [], list[str]()
    is_complete = True
    with error_context(section):
        for text in texts_of(section, task):
            lengths.append(len(text))
            if len(sample) < SAMPLED_TEXTS and sum(lengths[:SAMPLED_TEXTS]) < SAMPLED_LETTERS:
                sample.append(text)
            if len(lengths) % CHECK_EVERY == 0 and clock() > deadline:
                is_complete = False
                break
        if not any(sample):
            raise UserError("it has no text; expected running text")
        ids = split_into_blocks(sample, tokenizer, max_length=section.max_length)
    blocks = Dataset.from_dict({"input_ids": ids})
    data = token_dataset(blocks, np.array([len(each) for each in ids], dtype=np.int64), tokenizer)
    letters_per_block = section.max_length * max(1, sum(map(len, sample))) / max(1, int(data.lengths.sum()))
    num_read = sum(1 + int(length / letters_per_block) for length in lengths)
    if is_complete:
        return CorpusBlocks(sample=data, num_blocks=num_read)
    growth = _size_of_corpus(section, task, num_texts=len(lengths), num_letters=sum(lengths))
    basis = f"the first {len(lengths):,} texts of its corpus"
    return CorpusBlocks(
        sample=data, num_blocks=int(num_read * max(1.0, growth or 1.0)), basis=basis, is_bound=growth is None
    )


def _size_of_corpus(
    section: GeneralSection | TrainHeadSection, task: Task, *, num_texts: int, num_letters: int
) -> float | None:
    """The size of the whole corpus, as a multiple of the texts that were read; None if only reading it can tell."""
    known = [] if section.max_texts is None else [section.max_texts / num_texts]
    if not any(name.startswith(HUB) for name in section.corpus):
        known.append(sum(_num_letters(name, task) for name in section.corpus) / num_letters)
    return min(known, default=None)


def _num_letters(name: str, task: Task) -> int:
    """The size of an entry of a corpus list, in letters or bytes."""
    if name == "task":
        return sum(map(len, [*task.train.texts, *(task.train.pairs or [])]))
    path = corpus_path(name)
    files = [path] if path.is_file() else [*path.glob("*.txt"), *path.glob("*.jsonl")]
    return sum(file.stat().st_size for file in files)
