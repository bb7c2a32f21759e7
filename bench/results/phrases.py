"""The phrases of reports that depend on the task type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from compress.common.wording import brief_list
from compress.data.task_types import TaskTypeName
from compress.results import LabelDrift
from export.results import BatchInvariance, Parity


@dataclass(frozen=True, kw_only=True)
class TaskPhrases:
    """Templates for `str.format`. The methods fill them in.

    `baseline`: name of the TF-IDF baseline. `answers`: the model's outputs, with their `names` and `count`.
    `label_flips`: table cell about labels that differ from torch's; `flips_sentence`: the same as a sentence, None if
    the task has no labels. `batches`: batch dependence; `moved`: subject of a sentence about it. `drift`: the change of
    the teacher's predictions for augmented texts.
    """

    baseline: str
    answers: str
    label_flips: str
    flips_sentence: str | None
    batches: str
    moved: str
    drift: str

    def outputs(self, labels: Sequence[str]) -> str:
        """A description of the outputs of a model with these labels."""
        return self.answers.format(count=len(labels), names=brief_list(labels))

    def flips(self, parity: Parity) -> str:
        """A table cell: number of labels that differ from torch's."""
        return self.label_flips.format(changed=parity.num_label_flips, rows=parity.num_rows)

    def about_flips(self, parity: Parity) -> list[str]:
        """The same as a sentence; none if the task has no labels."""
        if self.flips_sentence is None:
            return []
        return [self.flips_sentence.format(changed=parity.num_label_flips, rows=parity.num_rows)]

    def about_batches(self, result: BatchInvariance) -> str:
        """A sentence: how much the output for a text depends on its batch."""
        shifts = f"{result.batch_shift:.2g} in a mixed batch, {result.padding_shift:.2g} with padding only"
        return self.batches.format(shifts=shifts, changed=result.num_label_changes, rows=result.num_rows)

    def about_drift(self, drift: LabelDrift, num_dropped: int) -> str:
        """A phrase: the change of the teacher's predictions. `num_dropped`: augmented texts dropped because of it."""
        dropped = f"; {num_dropped:,} of them dropped" if num_dropped else ""
        return self.drift.format(**vars(drift), dropped=dropped)


CLASSIFICATION = TaskPhrases(
    baseline="TF-IDF + logistic regression",
    answers="{count} labels ({names})",
    label_flips="{changed} of {rows}",
    flips_sentence="labels that differ from torch's: {changed} of {rows}",
    batches="a text's probabilities change by at most {shifts}; {changed} of {rows} labels change",
    moved="probabilities",
    drift="the teacher's label flips in {changed_share:.1%} of {num_variants:,} augmented texts{dropped}",
)
REGRESSION = TaskPhrases(
    baseline="TF-IDF + ridge regression",
    answers="a number per text",
    label_flips="-",
    flips_sentence=None,
    batches="a text's value changes, relative to the values' standard deviation, by at most {shifts}",
    moved="values, relative to their standard deviation,",
    drift="the teacher's value changes by {mean_change:.2f} on average over {num_variants:,} augmented texts (standard "
    "deviation over the original texts: {spread:.2f})",
)


def phrases_for(task_type: TaskTypeName) -> TaskPhrases:
    """The phrases of a task type."""
    match task_type:
        case "classification":
            return CLASSIFICATION
        case "regression":
            return REGRESSION
    assert_never(task_type)
