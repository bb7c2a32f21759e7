"""A preview of augmented data: some augmented texts with their originals, and statistics of all words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from datasets import Dataset
from pydantic import TypeAdapter

from bench.report.augmentation_summary import drift_line, word_lines
from compress.augmentation import dataset
from compress.augmentation.candidates import Source
from compress.data.arrow_shards import read_shards
from compress.data.task_types import TaskTypeName
from compress.results import AugmentResult
from pocketbert.store.manifest import read_manifest


@dataclass(frozen=True, kw_only=True)
class ReplacedWord:
    """A replaced word: `text[start:end]`, where the original had `was`. `source`: of the replacement."""

    start: int
    end: int
    was: str
    source: Source


@dataclass(frozen=True, kw_only=True)
class AugmentedExample:
    """An augmented text of train row `row`.

    `column`: the changed text of the row. `is_pair`: whether the row has two texts. `original`, `text`: before and
    after the change.
    """

    row: int
    column: Literal["text", "pair"]
    is_pair: bool
    original: str
    text: str
    replaced: list[ReplacedWord]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The columns of `compress.augmentation.dataset.augment` that the preview reads."""

    text: str
    pair: str | None = None
    row: int
    varied: int
    replaced: list[ReplacedWord]


@dataclass(frozen=True, kw_only=True)
class AugmentationPreview:
    """The document of the command. `folder`: of the rows. `summary`: the result as (name, sentence)."""

    folder: str
    examples: list[AugmentedExample]
    result: AugmentResult
    summary: list[tuple[str, str]]


def preview_augmentation(folder: Path, *, task_type: TaskTypeName, count: int, seed: int) -> AugmentationPreview:
    """`count` randomly sampled augmented texts, and the figures of the stage. `folder`: of the augment stage."""
    rows = read_shards(dataset.shards_in(folder / "texts"))
    origins = dataset.origins_of(folder / "texts")
    sampled = np.random.default_rng(seed).permutation(np.flatnonzero(origins.is_augmented))[:count]
    result = read_manifest(folder.parent)["augment"].result_as(AugmentResult)
    summary = word_lines(result)
    if result.drift is not None:
        summary.append(drift_line(result.drift, result.num_dropped, task_type))
    return AugmentationPreview(
        folder=str(folder / "texts"),
        examples=[_example(rows, number, int(origins.row[number])) for number in np.sort(sampled).tolist()],
        result=result,
        summary=summary,
    )


def _example(rows: Dataset, number: int, original: int) -> AugmentedExample:
    """The augmented text in row `number`, with the text of its original row."""
    augmented, unchanged = (TypeAdapter(_Row).validate_python(rows[each]) for each in (number, original))
    column: Literal["text", "pair"] = "pair" if augmented.varied == 1 else "text"
    return AugmentedExample(
        row=augmented.row,
        column=column,
        is_pair=augmented.pair is not None,
        original=getattr(unchanged, column),
        text=getattr(augmented, column),
        replaced=augmented.replaced,
    )
