"""Typed records of the results of each training stage. Importing this module loads no other library.

`bench.results.document` combines them with the parity records of `export.results` and with the benchmark in
results.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

LOSS = "loss_"  # the prefix of each part of the loss in the trainer's log


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """The task's metric on two splits. `test` equals `dev` if the task has too few rows for a test split."""

    dev: float
    test: float


@dataclass(frozen=True, kw_only=True)
class LossEntry:
    """One logged step. `loss`: the sum of all parts. `parts`: the mean of each loss since the previous entry."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None = None
    parts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_log(cls, log: Mapping[str, float]) -> "LossEntry":
        """Convert an entry of `transformers.TrainerState.log_history`."""
        values = {each.name: log[each.name] for each in fields(cls) if each.name in log}
        parts = {name.removeprefix(LOSS): value for name, value in log.items() if name.startswith(LOSS)}
        return cls(**{**values, "step": int(log["step"]), "parts": parts})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The logged losses of a training stage, the metric on dev after each epoch, and the number of steps and seconds.

    `best_epoch`: counted from 1; 0 if no epoch was as good as the initial model, which is then kept. If the stage was
    interrupted, `seconds` starts at `resumed_at_step`.
    """

    history: list[LossEntry]
    dev_scores: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    num_steps: int
    resumed_at_step: int = 0
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """The TF-IDF baseline.

    `model`: its name. `num_rows`: fitted train rows. `strength`: the selected inverse regularisation strength.
    `most_common`: the metric of always predicting the most common label of train, or the mean of a regression.
    `most_common_accuracy`: the same as accuracy; None for a regression.
    """

    model: str
    scores: SplitScores
    most_common: SplitScores
    most_common_accuracy: SplitScores | None
    num_rows: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class TeacherResult:
    """The teacher. `training` is None if the recipe names a fine-tuned teacher."""

    training: TrainingResult | None
    scores: SplitScores
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class GeneralResult:
    """General distillation. `num_rows`: the number of token blocks of the corpus."""

    training: TrainingResult
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class MaskedLMAccuracy:
    """The share of `num_masked` masked tokens in held-out text that ranks first, and that ranks among the first 15."""

    top1: float
    top15: float
    num_masked: int


@dataclass(frozen=True, kw_only=True)
class MaskedLMResult:
    """The training of a masked-language-model head. `num_rows`: the number of token blocks of the corpus."""

    training: TrainingResult
    accuracy: MaskedLMAccuracy
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class AugmentationCounts:
    """Counts of data augmentation.

    Over the different texts:
    - `texts`, their `words`, and the `replaceable` words among these
    - `from_masked_lm`, `from_vectors`: the words with candidates from each source

    Over the rows:
    - `rows`, and the augmented texts among them in `variants`
    - `missing`: requested augmented texts that do not exist
    - `redrawn`: samples that repeated a text and were discarded
    - `replaced_by_masked_lm`, `replaced_by_vectors`: the replaced words by source
    """

    texts: int = 0
    words: int = 0
    replaceable: int = 0
    from_masked_lm: int = 0
    from_vectors: int = 0
    rows: int = 0
    variants: int = 0
    missing: int = 0
    redrawn: int = 0
    replaced_by_masked_lm: int = 0
    replaced_by_vectors: int = 0

    def __add__(self, other: "AugmentationCounts") -> "AugmentationCounts":
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return AugmentationCounts(**sums)


@dataclass(frozen=True, kw_only=True)
class WordVectorsUsed:
    """A table of word vectors. `num_missing`: requested words without a vector. `missing`: the first of these words."""

    name: str
    dimension: int
    num_words: int
    num_missing: int
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class LabelDrift:
    """How augmentation changes the teacher's predictions, over `num_variants` augmented texts.

    `changed_share`: for classes, the share of texts whose label changes. `mean_change`: for values, the mean absolute
    change in units of the label. `spread`: for values, the standard deviation over the original texts.
    """

    num_variants: int
    changed_share: float | None = None
    mean_change: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class AugmentResult:
    """Data augmentation. `drift`: None if not measured. `num_dropped`: augmented texts that the filter removed."""

    counts: AugmentationCounts
    vectors: WordVectorsUsed | None
    drift: LabelDrift | None
    num_dropped: int


@dataclass(frozen=True, kw_only=True)
class IntermediateResult:
    """Intermediate-layer distillation. Scores: with the teacher's head on the student; None if it does not fit."""

    training: TrainingResult
    scores_before: SplitScores | None
    scores: SplitScores | None


@dataclass(frozen=True, kw_only=True)
class SearchPoint:
    """A point of a search and its score on dev.

    `num_steps`: the length of its training. `dev_loss`: the mean loss on dev. `p_value`: the probability of outputs
    that fit dev as well, if the texts said nothing about the labels. All are None in results of version 0.4, which
    trained each point in full.
    """

    learning_rate: float
    batch_size: int
    dev_score: float
    num_steps: int | None = None
    dev_loss: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The search for the schedule of the teacher's fine-tuning.

    `points`: in the order of their trainings. `training`: of the best candidate; None if the user ended the search
    before. `seconds_per_step`: of the trainings, with their passes over dev; None if the search only read its points.
    """

    points: list[SearchPoint]
    learning_rate: float
    batch_size: int
    training: TrainingResult | None = None
    seconds_per_step: float | None = None


@dataclass(frozen=True, kw_only=True)
class VocabularyResult:
    """A pruned vocabulary. `coverage`: the share of the texts' tokens that are still in the vocabulary."""

    num_tokens: int
    num_tokens_before: int
    coverage: float


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """Prediction-layer distillation, which completes the student. `search`: empty without a search."""

    training: TrainingResult
    scores_before: SplitScores
    scores: SplitScores
    num_parameters: int
    search: list[SearchPoint]
    vocabulary: VocabularyResult | None = None
    drift: LabelDrift | None = None
