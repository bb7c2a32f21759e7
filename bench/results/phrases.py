"""The phrases of the reports that depend on what a task's models answer with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from compress.data.task_types import TaskTypeName
from compress.results import LabelDrift
from export.results import BatchInvariance, Parity


@dataclass(frozen=True, kw_only=True)
class TaskWords:
    """Phrases for `str.format`; the methods fill them in.

    `floor`: the name of the baseline. `answers`: what a model answers, by the `names` of its outputs and their `count`.
    `label_flips`: a cell, and `flips_sentence` a sentence, on labels that differ from torch's; None where there are no
    labels. `batches`: how far answers depend on the batch, of which `moved` is the subject. `drift`: what replacing
    words does to the teacher's answers.
    """

    floor: str
    answers: str
    label_flips: str
    flips_sentence: str | None
    batches: str
    moved: str
    drift: str

    def outputs(self, labels: Sequence[str]) -> str:
        """What a model answers whose outputs have these names."""
        return self.answers.format(count=len(labels), names=", ".join(labels))

    def flips(self, parity: Parity) -> str:
        """How many labels differ from torch's, as a cell."""
        return self.label_flips.format(changed=parity.num_label_flips, rows=parity.num_rows)

    def about_flips(self, parity: Parity) -> list[str]:
        """The same as a sentence; none where there are no labels."""
        if self.flips_sentence is None:
            return []
        return [self.flips_sentence.format(changed=parity.num_label_flips, rows=parity.num_rows)]

    def about_batches(self, result: BatchInvariance) -> str:
        """How far a text's answer depends on the texts that are computed with it."""
        shifts = f"{result.batch_shift:.2g} in a mixed batch, {result.padding_shift:.2g} with padding alone"
        return self.batches.format(shifts=shifts, changed=result.num_label_changes, rows=result.num_rows)

    def about_drift(self, drift: LabelDrift, num_dropped: int) -> str:
        """How far the teacher's answers move. `num_dropped`: variants that were filtered for it."""
        dropped = f"; {num_dropped:,} of them dropped" if num_dropped else ""
        return self.drift.format(**vars(drift), dropped=dropped)


CLASSIFICATION = TaskWords(
    floor="TF-IDF + logistic regression",
    answers="{count} labels ({names})",
    label_flips="{changed} of {rows}",
    flips_sentence="labels unlike torch's: {changed} of {rows}",
    batches="a text's probabilities move by at most {shifts}; {changed} of {rows} labels change",
    moved="probabilities",
    drift="the teacher's label flips in {changed_share:.1%} of {num_variants:,} variants{dropped}",
)
REGRESSION = TaskWords(
    floor="TF-IDF + ridge regression",
    answers="a number per text",
    label_flips="-",
    flips_sentence=None,
    batches="a text's value moves, over the values' spread, by at most {shifts}",
    moved="values, over their spread,",
    drift="the teacher's number changes by {mean_change:.2f} on average (its spread over the texts is {spread:.2f}), "
    "over {num_variants:,} variants",
)


def words_for(task_type: TaskTypeName) -> TaskWords:
    """The phrases of a task type."""
    match task_type:
        case "classification":
            return CLASSIFICATION
        case "regression":
            return REGRESSION
    assert_never(task_type)
