"""A split's rows and their variants, on disk: written as they are made, a shard of texts at a time, resumable."""

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
from compress.data.arrow_shards import TOKENS, read_metadata, read_shards, token_dataset_of_shards, write_shard
from compress.data.columns import Split
from compress.data.tokenization import TokenDataset, tokenise_rows
from compress.results import AugmentationCounts

SHARD_TEXTS = 1000
SHARD_ROWS = 20_000  # of the originals
ROWS_AT_ONCE = 5000
COUNTS = b"counts"
REPLACED = pa.list_(
    pa.struct([("start", pa.int32()), ("end", pa.int32()), ("was", pa.string()), ("source", pa.string())])
)


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """`variants`: how many of each text (of a pair, of each of its two). `probability`: of a word's replacement."""

    variants: int
    probability: float
    seed: int


def augment_dataset(
    split: Split,
    candidates: Candidates,
    draw: SamplingOptions,
    folder: Path,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AugmentationCounts:
    """Write the rows and their variants to `folder`, as Arrow files.

    Columns: `text` and, for pairs, `pair`; `label`; `row`, the number of the row in `split`; `varied`: which of the two
    was (0 the text, 1 the pair, -1 an original); `replaced`: where, what stood there, and the source of what stands
    there now. Each text of a pair is varied beside the other as it was.

    Shards that are there already are kept: cut off and called again, it goes on from there. Several processes divide
    the shards among them. The files are the same, however it went.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = split.different_texts()
    uses = _uses(split)
    shards = [texts[start : start + SHARD_TEXTS] for start in range(0, len(texts), SHARD_TEXTS)]
    if distributed.is_main():
        _write_originals(split, folder)
    paths = [folder / f"variants-{number:05}.arrow" for number in range(len(shards))]
    ours = range(distributed.rank(), len(shards), distributed.count())
    nearest = candidates.nearest_words(texts)
    for number in ours:
        before, shard = number * SHARD_TEXTS, shards[number]
        if not paths[number].exists():

            def part_done(done: int, total: int, *, before: int = before, size: int = len(shard)) -> None:
                on_progress(before + size * done // total, len(texts))

            found = candidates.of(shard, nearest, on_progress=part_done)
            variants, counts = _vary(split, shard, found, uses, draw)
            _write(split, variants, counts, paths[number])
        on_progress(before + len(shard), len(texts))
    distributed.all_gather(None)  # wait for the others' shards
    counted = (json.loads(read_metadata(path)[COUNTS]) for path in shards_in(folder))
    return sum((AugmentationCounts(**counts) for counts in counted), AugmentationCounts())


def _write_originals(split: Split, folder: Path) -> None:
    for start in range(0, len(split), SHARD_ROWS):
        path = folder / f"originals-{start // SHARD_ROWS:05}.arrow"
        if not path.exists():
            rows = range(start, min(start + SHARD_ROWS, len(split)))
            unchanged = [(row, -1, AugmentedText(split.texts[row], ())) for row in rows]
            _write(split, unchanged, AugmentationCounts(rows=len(unchanged)), path)


def _uses(split: Split) -> dict[str, list[tuple[int, int]]]:
    """Text -> (row, 0 as its text or 1 as its pair), everywhere it stands."""
    found: dict[str, list[tuple[int, int]]] = {}
    for which, column in enumerate([split.texts, split.pairs or []]):
        for row, text in enumerate(column):
            found.setdefault(text, []).append((row, which))
    return found


def _vary(
    split: Split,
    texts: Sequence[str],
    found: Sequence[TextCandidates],
    uses: dict[str, list[tuple[int, int]]],
    draw: SamplingOptions,
) -> tuple[list[tuple[int, int, AugmentedText]], AugmentationCounts]:
    """(row, which text of it, its variant) of some texts wherever they stand."""
    made: list[tuple[int, int, AugmentedText]] = []
    counts = AugmentationCounts()
    for text, (num_words, num_replaceable, places) in zip(texts, found, strict=True):
        sources = [place.source for place in places]
        counts += AugmentationCounts(
            texts=1,
            words=num_words,
            replaceable=num_replaceable,
            from_masked_lm=sources.count("masked_lm"),
            from_vectors=sources.count("vectors"),
        )
        for row, which in uses[text]:
            beside = "" if split.pairs is None else f"{which}{(split.pairs, split.texts)[which][row]}"
            drawn = sample_augmented_texts(
                text, places, count=draw.variants, probability=draw.probability, seed=draw.seed, beside=beside
            )
            made += [(row, which, variant) for variant in drawn.variants]
            by = [each.source for variant in drawn.variants for each in variant.replaced]
            counts += AugmentationCounts(
                rows=len(drawn.variants),
                variants=len(drawn.variants),
                missing=draw.variants - len(drawn.variants),
                redrawn=drawn.num_again,
                replaced_by_masked_lm=by.count("masked_lm"),
                replaced_by_vectors=by.count("vectors"),
            )
    return made, counts


def _write(
    split: Split, rows: Sequence[tuple[int, int, AugmentedText]], counts: AugmentationCounts, path: Path
) -> None:
    numbers = [row for row, _, _ in rows]
    texts = [variant.text if which < 1 else split.texts[row] for row, which, variant in rows]
    columns = {"text": pa.array(texts, type=pa.string())}
    if split.pairs is not None:
        pairs = [variant.text if which == 1 else split.pairs[row] for row, which, variant in rows]
        columns["pair"] = pa.array(pairs, type=pa.string())
    columns |= {
        "label": pa.array(split.labels[numbers]),
        "row": pa.array(numbers, type=pa.int32()),
        "varied": pa.array([which for _, which, _ in rows], type=pa.int8()),
        "replaced": pa.array([[each._asdict() for each in variant.replaced] for _, _, variant in rows], type=REPLACED),
    }
    table = pa.table(columns)
    write_shard(table.replace_schema_metadata({COUNTS: json.dumps(asdict(counts))}), path)


def tokenise_dataset(
    texts: Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    max_length: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TokenDataset:
    """The rows of `augment_dataset` in `texts`, tokenised in the same order and kept in `folder`. Resumable."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = shards_in(texts)
    for number, source in enumerate(sources):
        target = folder / source.name
        if number % distributed.count() == distributed.rank() and not target.exists():
            rows = Dataset.from_file(str(source))
            parts = range(0, max(1, len(rows)), ROWS_AT_ONCE)
            write_shard(
                pa.concat_tables(
                    _tokens(rows[start : start + ROWS_AT_ONCE], tokenizer, max_length=max_length) for start in parts
                ),
                target,
            )
        on_progress(number + 1, len(sources))
    distributed.all_gather(None)
    return token_dataset_of_shards(shards_in(folder), tokenizer)


def _tokens(rows: dict[str, list], tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> pa.Table:
    columns = tokenise_rows(rows["text"], rows.get("pair"), tokenizer, max_length=max_length)
    return pa.table({name: pa.array(cells, type=TOKENS) for name, cells in columns.items()})


class RowOrigins(NamedTuple):
    """Where each row of `augment_dataset` comes from, (rows,): its source row, and whether it is augmented."""

    row: np.ndarray
    is_variant: np.ndarray


def origins_of(folder: Path) -> RowOrigins:
    """Where each row comes from. The first rows are the originals, in their order."""
    rows = read_shards(shards_in(folder)).data
    return RowOrigins(rows.column("row").to_numpy(), rows.column("varied").to_numpy() >= 0)


def shards_in(folder: Path) -> list[Path]:
    """The Arrow files of a folder, in order: first the originals, row by row."""
    return sorted(folder.glob("*.arrow"))


def copy_without(source: Path, target: Path, dropped: np.ndarray) -> None:
    """The shards of a folder in another, less some rows: (rows,) over all its shards, True where one goes.

    A shard that keeps all its rows is the same file under two names, where the file system can do that.
    """
    target.mkdir(parents=True)
    start = 0
    for path in shards_in(source):
        with pa.memory_map(str(path)) as opened:
            table = pa.ipc.open_stream(opened).read_all()
            gone = dropped[start : start + len(table)]
            start += len(table)
            if gone.any():
                write_shard(table.filter(pa.array(~gone)), target / path.name)
                continue
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy(path, target / path.name)
