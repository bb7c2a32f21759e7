"""Augments a split and writes its rows to disk, one shard of texts at a time. Resumable."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from compress.augmentation.candidates import Candidates, TextCandidates
from compress.augmentation.sampling import AugmentedText, sample_augmented_texts
from compress.common import distributed
from compress.common.seals import is_intact
from compress.data.arrow_shards import (
    TOKENS,
    read_metadata,
    read_shards,
    token_dataset_of_shards,
    write_sealed_shard,
    write_shard,
)
from compress.data.columns import Split
from compress.data.tokenization import TokenDataset, tokenise_rows
from compress.results import AugmentationCounts

SHARD_TEXTS = 1000
ORIGINALS_PER_SHARD = 20_000
ROWS_AT_ONCE = 5000
COUNTS = b"counts"
REPLACED = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("was", pa.string()), ("source", pa.string())])
)


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """`copies_per_text`: augmented texts per text (both texts of a pair). `probability`: that a word is replaced."""

    copies_per_text: int
    probability: float
    seed: int


def augment_dataset(
    split: Split,
    candidates: Candidates,
    sampling: SamplingOptions,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AugmentationCounts:
    """Write the rows and their augmented copies to `folder`, as Arrow files.

    Columns:
    - `text` and, for pairs, `pair`
    - `label`
    - `row`: the row of `split` that it comes from
    - `varied`: which text was augmented: 0 the text, 1 the pair, -1 neither (an original)
    - `replaced`: for each replaced word, its span, the original word and the source of the new one

    In an augmented pair, only one of the two texts is changed.

    Intact shards are kept, so a second call resumes after an interruption. Several processes share the shards.
    Neither changes the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = split.unique_texts()
    occurrences = _occurrences(split)
    shards = [texts[start : start + SHARD_TEXTS] for start in range(0, len(texts), SHARD_TEXTS)]
    if distributed.is_main():
        _write_originals(split, folder)
    paths = [folder / f"variants-{number:05}.arrow" for number in range(len(shards))]
    own_shards = range(distributed.rank(), len(shards), distributed.count())
    nearest = candidates.nearest_words(texts)
    for number in own_shards:
        num_before, shard = number * SHARD_TEXTS, shards[number]
        if not is_intact(paths[number]):

            def on_shard_progress(
                done: int, total: int, *, num_before: int = num_before, size: int = len(shard)
            ) -> None:
                on_progress(num_before + size * done // total, len(texts))

            text_candidates = candidates.of(shard, nearest, on_progress=on_shard_progress)
            augmented, counts = _augment(split, shard, text_candidates, occurrences, sampling)
            _write(split, augmented, counts, paths[number])
        on_progress(num_before + len(shard), len(texts))
    distributed.all_gather(None)  # wait for the shards of the other processes
    shard_counts = (json.loads(read_metadata(path)[COUNTS]) for path in shards_in(folder))
    return sum((AugmentationCounts(**counts) for counts in shard_counts), AugmentationCounts())


def _write_originals(split: Split, folder: Path) -> None:
    for start in range(0, len(split), ORIGINALS_PER_SHARD):
        path = folder / f"originals-{start // ORIGINALS_PER_SHARD:05}.arrow"
        if not is_intact(path):
            rows = range(start, min(start + ORIGINALS_PER_SHARD, len(split)))
            unchanged = [(row, -1, AugmentedText(split.texts[row], ())) for row in rows]
            _write(split, unchanged, AugmentationCounts(rows=len(unchanged)), path)


def _occurrences(split: Split) -> dict[str, list[tuple[int, int]]]:
    """All occurrences of each text, as (row, column); column 0 holds the texts, column 1 the pairs."""
    occurrences: dict[str, list[tuple[int, int]]] = {}
    for column, cells in enumerate([split.texts, split.pairs or []]):
        for row, text in enumerate(cells):
            occurrences.setdefault(text, []).append((row, column))
    return occurrences


def _augment(
    split: Split,
    texts: Sequence[str],
    text_candidates: Sequence[TextCandidates],
    occurrences: dict[str, list[tuple[int, int]]],
    sampling: SamplingOptions,
) -> tuple[list[tuple[int, int, AugmentedText]], AugmentationCounts]:
    """The augmented texts as (row, column, augmented text), for every occurrence of the texts."""
    augmented: list[tuple[int, int, AugmentedText]] = []
    counts = AugmentationCounts()
    for text, (num_words, num_replaceable, slots) in zip(texts, text_candidates, strict=True):
        sources = [slot.source for slot in slots]
        counts += AugmentationCounts(
            texts=1,
            words=num_words,
            replaceable=num_replaceable,
            from_masked_lm=sources.count("masked_lm"),
            from_vectors=sources.count("vectors"),
        )
        for row, column in occurrences[text]:
            other_text = "" if split.pairs is None else f"{column}{(split.pairs, split.texts)[column][row]}"
            sampled = sample_augmented_texts(
                text,
                slots,
                count=sampling.copies_per_text,
                probability=sampling.probability,
                seed=sampling.seed,
                other_text=other_text,
            )
            augmented += [(row, column, copy) for copy in sampled.texts]
            replacement_sources = [replacement.source for copy in sampled.texts for replacement in copy.replaced]
            counts += AugmentationCounts(
                rows=len(sampled.texts),
                variants=len(sampled.texts),
                missing=sampling.copies_per_text - len(sampled.texts),
                redrawn=sampled.num_repeats,
                replaced_by_masked_lm=replacement_sources.count("masked_lm"),
                replaced_by_vectors=replacement_sources.count("vectors"),
            )
    return augmented, counts


def _write(
    split: Split, rows: Sequence[tuple[int, int, AugmentedText]], counts: AugmentationCounts, path: Path
) -> None:
    numbers = [row for row, _, _ in rows]
    texts = [augmented.text if column < 1 else split.texts[row] for row, column, augmented in rows]
    columns = {"text": pa.array(texts, type=pa.string())}
    if split.pairs is not None:
        pairs = [augmented.text if column == 1 else split.pairs[row] for row, column, augmented in rows]
        columns["pair"] = pa.array(pairs, type=pa.string())
    columns |= {
        "label": pa.array(split.labels[numbers]),
        "row": pa.array(numbers, type=pa.int32()),
        "varied": pa.array([column for _, column, _ in rows], type=pa.int8()),
        "replaced": pa.array(
            [[replacement._asdict() for replacement in augmented.replaced] for _, _, augmented in rows], type=REPLACED
        ),
    }
    table = pa.table(columns)
    write_sealed_shard(table.replace_schema_metadata({COUNTS: json.dumps(asdict(counts))}), path)


def tokenise_dataset(
    texts: Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    max_length: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TokenDataset:
    """Tokenise the rows of `augment_dataset` in `texts`, in order, and write them to `folder`. Resumable."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = shards_in(texts)
    for number, source in enumerate(sources):
        target = folder / source.name
        if number % distributed.count() == distributed.rank() and not is_intact(target):
            rows = Dataset.from_file(str(source))
            starts = range(0, max(1, len(rows)), ROWS_AT_ONCE)
            write_sealed_shard(
                pa.concat_tables(
                    _tokenise(rows[start : start + ROWS_AT_ONCE], tokenizer, max_length=max_length) for start in starts
                ),
                target,
            )
        on_progress(number + 1, len(sources))
    distributed.all_gather(None)
    return token_dataset_of_shards(shards_in(folder), tokenizer)


def _tokenise(rows: dict[str, list], tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
    columns = tokenise_rows(rows["text"], rows.get("pair"), tokenizer, max_length=max_length)
    return pa.table({name: pa.array(cells, type=TOKENS) for name, cells in columns.items()})


class RowOrigins(NamedTuple):
    """For each row of `augment_dataset`, its source row and whether it is augmented; (rows,) each."""

    row: np.ndarray
    is_augmented: np.ndarray


def origins_of(folder: Path) -> RowOrigins:
    """The origins of all rows. The first rows are the originals, in their order."""
    rows = read_shards(shards_in(folder)).data
    return RowOrigins(rows.column("row").to_numpy(), rows.column("varied").to_numpy() >= 0)


def shards_in(folder: Path) -> list[Path]:
    """The Arrow files of a folder, in order. The originals come first."""
    return sorted(folder.glob("*.arrow"))


def copy_without(source: Path, target: Path, dropped: np.ndarray) -> None:
    """Copy the shards of a folder without some rows. `dropped`: bool (rows,) over all shards, True for rows to drop.

    A shard that keeps all its rows becomes a hard link if the file system allows it.
    """
    target.mkdir(parents=True)
    start = 0
    for path in shards_in(source):
        with pa.memory_map(str(path)) as opened:
            table = pa.ipc.open_stream(opened).read_all()
            dropped_here = dropped[start : start + len(table)]
            start += len(table)
            if dropped_here.any():
                write_shard(table.filter(pa.array(~dropped_here)), target / path.name)
                continue
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy(path, target / path.name)
