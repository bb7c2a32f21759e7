"""What the report says of augmented data."""

from bench.results.document import StageResults
from bench.results.phrases import words_for
from compress.data.task_types import TaskTypeName
from compress.results import AugmentResult, LabelDrift, MaskedLMAccuracy


def report_lines(stages: StageResults, task_type: TaskTypeName) -> list[tuple[str, str]]:
    """The results of a run's stages of augmentation, as lines of (what, in words); none where there were none."""
    lines = []
    if stages.masked_lm is not None:
        lines.append(("masked language model", _accuracy(stages.masked_lm.accuracy)))
    if stages.augment is not None:
        lines += word_lines(stages.augment)
        drift = stages.augment.drift or (stages.prediction.drift if stages.prediction is not None else None)
        if drift is not None:
            lines.append(drift_line(drift, stages.augment.num_dropped, task_type))
    return lines


def word_lines(result: AugmentResult) -> list[tuple[str, str]]:
    """The augment stage's words and rows, as lines of (what, in words)."""
    counts = result.counts
    left = counts.replaceable - counts.from_masked_lm - counts.from_vectors
    replaced = counts.replaced_by_masked_lm + counts.replaced_by_vectors
    variants = counts.variants - result.num_dropped
    num_rows = counts.rows - result.num_dropped
    lines = [
        ("rows", f"{num_rows:,}, of which {variants:,} variants of {counts.texts:,} texts"),
        (
            "words that may be replaced",
            f"{counts.replaceable:,} of {counts.words:,}, {_share(counts.replaceable, counts.words)}",
        ),
        (
            "with candidates from",
            f"the masked language model {_share(counts.from_masked_lm, counts.replaceable)}, word vectors "
            f"{_share(counts.from_vectors, counts.replaceable)}; left as they are {_share(left, counts.replaceable)}",
        ),
        (
            "replaced in a variant",
            f"{replaced / max(1, counts.variants):.1f} words: by the masked language model "
            f"{_share(counts.replaced_by_masked_lm, replaced)}, by word vectors "
            f"{_share(counts.replaced_by_vectors, replaced)}",
        ),
        (
            "duplicates",
            f"{counts.redrawn:,} drawn again; {counts.missing:,} variants fewer than were wanted, "
            "of texts that allow no more",
        ),
    ]
    if result.vectors is not None:
        vectors = result.vectors
        missing = f": {', '.join(vectors.missing[:8])} ..." if vectors.num_missing else ""
        lines.append(
            (
                "word vectors",
                f"{vectors.num_words:,} of {vectors.dimension} numbers; {vectors.num_missing:,} words "
                f"asked for have none{missing}",
            )
        )
    return lines


def _accuracy(accuracy: MaskedLMAccuracy) -> str:
    return (
        f"its head was trained here; of {accuracy.num_masked:,} pieces masked in held-out text {accuracy.top1:.1%} are "
        f"the most probable, {accuracy.top15:.1%} among the first 15"
    )


def drift_line(drift: LabelDrift, num_dropped: int, task_type: TaskTypeName) -> tuple[str, str]:
    """How far the teacher's answers move, as a line of (what, in words). `num_dropped`: variants that were filtered."""
    return "label drift", words_for(task_type).about_drift(drift, num_dropped)


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.1%}"
