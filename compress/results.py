"""What each training stage reports, as plain typed records; loads no library.

`bench.results.document` joins them with the parity records of `export.results` and with the benchmark: the document
of results.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

LOSS = "loss_"  # the trainer logs each part of the loss under this prefix


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """The task's metric on two splits. `test` equals `dev` where the task has too few rows for a test split."""

    dev: float
    test: float


@dataclass(frozen=True, kw_only=True)
class LossEntry:
    """One logged step. `loss`: the sum of all parts; `parts`: each by its name, a mean since the entry before."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float | None = None
    parts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of_log(cls, log: Mapping[str, float]) -> "LossEntry":
        """From an entry of `transformers.TrainerState.log_history`."""
        own = {each.name: log[each.name] for each in fields(cls) if each.name in log}
        parts = {name.removeprefix(LOSS): value for name, value in log.items() if name.startswith(LOSS)}
        return cls(**{**own, "step": int(log["step"]), "parts": parts})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training leaves: losses as logged, the metric on dev after each epoch, steps and seconds.

    `best_epoch`: counted from 1; 0 where no epoch was as good as the model that came in, which is kept. After a kill,
    `seconds` counts from `resumed_at_step` on.
    """

    history: list[LossEntry]
    dev_scores: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    num_steps: int
    resumed_at_step: int = 0
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TeacherResult:
    """`training` is None where the recipe names a fine-tuned teacher."""

    training: TrainingResult | None
    scores: SplitScores
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class GeneralResult:
    """General distillation. `num_rows`: token blocks of the corpus."""

    training: TrainingResult
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class MaskedLMAccuracy:
    """Of `num_masked` masked tokens in held-out text, the share that ranks first, and among the first 15."""

    top1: float
    top15: float
    num_masked: int


@dataclass(frozen=True, kw_only=True)
class MaskedLMResult:
    """The training of a masked-language-model head. `num_rows`: token blocks of the corpus."""

    training: TrainingResult
    accuracy: MaskedLMAccuracy
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class AugmentationCounts:
    """Over the different texts: their words, how many may be replaced, and which source offers candidates for them.

    Over the rows: `variants` made, `missing` of those asked for, `redrawn`: draws that repeated a text and were made
    anew; and the words replaced in the variants, by source.
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
    """A table of word vectors. `num_missing`: words asked for that it lacks; `missing`: the first of them."""

    name: str
    dimension: int
    num_words: int
    num_missing: int
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class LabelDrift:
    """What replacing words does to the teacher's answer, over `num_variants` augmented texts.

    Of classes, `changed_share`: the share of texts that get another label. Of a value, `mean_change`, in units of the
    label, and `spread`, the standard deviation over the original texts.
    """

    num_variants: int
    changed_share: float | None = None
    mean_change: float | None = None
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class AugmentResult:
    """`drift` is None where the stage does not ask the teacher. `num_dropped`: variants that the filter removed."""

    counts: AugmentationCounts
    vectors: WordVectorsUsed | None
    drift: LabelDrift | None
    num_dropped: int


@dataclass(frozen=True, kw_only=True)
class IntermediateResult:
    """Intermediate-layer distillation. Scores are taken under the teacher's head; None where it does not fit."""

    training: TrainingResult
    scores_before: SplitScores | None
    scores: SplitScores | None


@dataclass(frozen=True, kw_only=True)
class SearchPoint:
    """One point of the prediction stage's grid, and the best score on dev that it reached."""

    learning_rate: float
    batch_size: int
    dev_score: float


@dataclass(frozen=True, kw_only=True)
class VocabularyResult:
    """A cut vocabulary: `num_tokens` kept of `num_tokens_before`. `coverage`: share of the texts' tokens kept as is."""

    num_tokens: int
    num_tokens_before: int
    coverage: float


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """Prediction-layer distillation; the student is then complete. `search`: empty without a grid."""

    training: TrainingResult
    scores_before: SplitScores
    scores: SplitScores
    num_parameters: int
    search: list[SearchPoint]
    vocabulary: VocabularyResult | None = None
    drift: LabelDrift | None = None
