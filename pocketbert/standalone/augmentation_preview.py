"""A look at augmented data: some variants with their originals, and what became of the words in all of them."""

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
    """`text[start:end]` of a variant stands where the original had the word `was`; it came from `source`."""

    start: int
    end: int
    was: str
    source: Source


@dataclass(frozen=True, kw_only=True)
class AugmentedExample:
    """A variant of a train row. `row`: its number. `column`: which of the row's texts is changed; `is_pair`: whether it
    has two. `original`: that text as it was; `text`: as it is in the variant.
    """

    row: int
    column: Literal["text", "pair"]
    is_pair: bool
    original: str
    text: str
    replaced: list[ReplacedWord]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """The columns of `compress.augmentation.dataset.augment` that are looked at."""

    text: str
    pair: str | None = None
    row: int
    varied: int
    replaced: list[ReplacedWord]


@dataclass(frozen=True, kw_only=True)
class AugmentationPreview:
    """The document of `augment`. `folder`: of the rows. `summary`: the result as lines of (what, in words)."""

    folder: str
    examples: list[AugmentedExample]
    result: AugmentResult
    summary: list[tuple[str, str]]


def preview_augmentation(folder: Path, *, task_type: TaskTypeName, count: int, seed: int) -> AugmentationPreview:
    """`count` variants, drawn by the seed, and the stage's figures. `folder`: the augment stage's."""
    rows = read_shards(dataset.shards_in(folder / "texts"))
    origins = dataset.origins_of(folder / "texts")
    variants = np.random.default_rng(seed).permutation(np.flatnonzero(origins.is_variant))[:count]
    result = read_manifest(folder.parent)["augment"].result_as(AugmentResult)
    summary = word_lines(result)
    if result.drift is not None:
        summary.append(drift_line(result.drift, result.num_dropped, task_type))
    return AugmentationPreview(
        folder=str(folder / "texts"),
        examples=[_example(rows, number, int(origins.row[number])) for number in np.sort(variants).tolist()],
        result=result,
        summary=summary,
    )


def _example(rows: Dataset, number: int, original: int) -> AugmentedExample:
    """The variant in row `number`, with the text of the row that it was made from."""
    variant, unchanged = (TypeAdapter(_Row).validate_python(rows[each]) for each in (number, original))
    column: Literal["text", "pair"] = "pair" if variant.varied == 1 else "text"
    return AugmentedExample(
        row=variant.row,
        column=column,
        is_pair=variant.pair is not None,
        original=getattr(unchanged, column),
        text=getattr(variant, column),
        replaced=variant.replaced,
    )
