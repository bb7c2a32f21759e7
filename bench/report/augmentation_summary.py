"""The report's lines on data augmentation."""

from bench.results.document import StageResults
from bench.results.phrases import phrases_for
from compress.data.task_types import TaskTypeName
from compress.results import AugmentResult, LabelDrift, MaskedLMAccuracy


def report_lines(stages: StageResults, task_type: TaskTypeName) -> list[tuple[str, str]]:
    """The results of a run's augmentation stages as names and values; none without these stages."""
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
    """The words and rows of the augment stage as names and values."""
    counts = result.counts
    without_candidates = counts.replaceable - counts.from_masked_lm - counts.from_vectors
    replaced = counts.replaced_by_masked_lm + counts.replaced_by_vectors
    augmented = counts.variants - result.num_dropped
    num_rows = counts.rows - result.num_dropped
    lines = [
        ("rows", f"{num_rows:,}, of which {augmented:,} augmented copies of {counts.texts:,} texts"),
        (
            "words that may be replaced",
            f"{counts.replaceable:,} of {counts.words:,}, {_share(counts.replaceable, counts.words)}",
        ),
        (
            "sources of candidates",
            f"masked language model {_share(counts.from_masked_lm, counts.replaceable)}, word vectors "
            f"{_share(counts.from_vectors, counts.replaceable)}, none "
            f"{_share(without_candidates, counts.replaceable)}",
        ),
        (
            "replaced per augmented text",
            f"{replaced / max(1, counts.variants):.1f} words: {_share(counts.replaced_by_masked_lm, replaced)} by the "
            f"masked language model, {_share(counts.replaced_by_vectors, replaced)} by word vectors",
        ),
        (
            "duplicates",
            f"{counts.redrawn:,} sampled again; {counts.missing:,} augmented texts fewer than requested, because "
            "their texts allow no more",
        ),
    ]
    if result.vectors is not None:
        vectors = result.vectors
        missing = f": {', '.join(vectors.missing[:8])} ..." if vectors.num_missing else ""
        lines.append(
            (
                "word vectors",
                f"{vectors.num_words:,} of {vectors.dimension} dimensions; {vectors.num_missing:,} requested words "
                f"have none{missing}",
            )
        )
    return lines


def _accuracy(accuracy: MaskedLMAccuracy) -> str:
    return (
        f"its head was trained here; of {accuracy.num_masked:,} tokens masked in held-out text, it ranks "
        f"{accuracy.top1:.1%} first and {accuracy.top15:.1%} among the first 15"
    )


def drift_line(drift: LabelDrift, num_dropped: int, task_type: TaskTypeName) -> tuple[str, str]:
    """The change of the teacher's predictions as a name and a value. `num_dropped`: augmented texts dropped."""
    return "label drift", phrases_for(task_type).about_drift(drift, num_dropped)


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.1%}"
