"""Recipe sections about what is shipped: the variants, the benchmark, and the gate."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from bench.results.measurements import Effort
from bench.timing.effort import EffortSettings, settings_of
from bench.timing.limits import (
    MOST_MS,
    MOST_PROCESSES,
    MOST_ROUNDS,
    MOST_SHAPES,
    MOST_TEXTS,
    MOST_THREADS,
    MOST_TOKENS,
)
from export.quantisation.variants import DEFAULT_VARIANTS, VARIANTS
from pocketbert.recipe.training import LARGEST_WEIGHT, RecipeSection, Share

if TYPE_CHECKING:
    VariantName = str
else:
    VariantName = Literal[tuple(VARIANTS)]
EFFORT_KEYS = frozenset(field.name for field in fields(EffortSettings))  # that the effort decides


class ToleranceSection(RecipeSection):
    """Largest differences from the torch student on dev that a variant may have."""

    logit_error: Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)] | None = Field(
        None, description="Mean error of the logits, as a share of their spread; default: that of the variant"
    )
    label_flips: Share | None = Field(
        None, description="Share of rows with another predicted label; default: that of the variant"
    )


class ExportSection(RecipeSection):
    """The variants to build."""

    variants: Annotated[list[VariantName], Field(min_length=1)] = Field(
        list(DEFAULT_VARIANTS), description="Variants of the student"
    )
    tolerance: dict[VariantName, ToleranceSection] = Field(
        {}, description="Tolerances that replace the default ones, by variant"
    )
    calibration_rows: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        256,
        description="Train rows that calibrate the activation ranges of static variants, balanced over the classes",
    )
    range_share: Annotated[float, Field(gt=0.9, le=1)] = Field(
        1.0, description="Share of the activation values inside the calibrated range; 1 takes all of them (min-max)"
    )
    reduce_range: bool = Field(
        True, description="Use 7 of the 8 bits of int8 weights, so that no CPU saturates their products"
    )
    attention: Literal["int8", "fp32"] = Field(
        "int8", description="Precision of the products of attention in static variants; fp32 is slower"
    )
    teacher_variants: list[VariantName] = Field(
        ["fp32", "int8-static"],
        description="Variants of the teacher, which the benchmark compares with the student; they are not shipped",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError(f"variants lists one twice: {', '.join(self.variants)}")
        return self


class BenchSection(RecipeSection):
    """The benchmark of teacher, student and bundles."""

    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] | None = Field(
        None, description="Threads of each model; default: all usable cores, shared by `processes` in a load test"
    )
    effort: Effort = Field(
        "standard",
        description="How much to measure: about 1, 4 or 10 minutes for small models on two cores; the keys below win "
        "over it",
    )
    rounds: Annotated[int, Field(ge=2, le=MOST_ROUNDS)] | None = Field(
        None,
        description="Rounds, each of which times every model once, in random order; default: 3, 10 or 12, by effort",
    )
    warm_up_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None, description="Longest warm-up of each model at each length, in seconds; default: 2, 5 or 5, by effort"
    )
    compiled_teacher: bool | None = Field(
        None, description="Also time the teacher under torch.compile; default: if effort is thorough"
    )
    restart_every: Annotated[int, Field(gt=0, le=MOST_ROUNDS)] | None = Field(
        None, description="Rounds after which every model moves to a new process; default: 1, 2 or 2, by effort"
    )
    roofline: bool | None = Field(
        None,
        description="Also measure the machine's roofline, how near the bundles come to it, and the time per operator; "
        "default: if effort is thorough",
    )
    thread_sweep: bool = Field(
        False, description="Also time with 1 thread, with 2, with one per physical core, and with `threads`"
    )
    latency_bound_ms: Annotated[float, Field(gt=0, le=MOST_MS)] | None = Field(
        None,
        description="Also run a load test: the most texts per second of which 99 % get their prediction within this "
        "many milliseconds; default: no load test",
    )
    processes: Annotated[int, Field(gt=0, le=MOST_PROCESSES)] = Field(
        1, description="Processes that serve a model in the load test, each with `threads` threads"
    )
    fixed_lengths: (
        Annotated[list[Annotated[int, Field(gt=0, le=MOST_TOKENS)]], Field(max_length=MOST_SHAPES)] | None
    ) = Field(
        None,
        description="Token counts of the grid at batch size 1; default: by effort none, or 16, 64 and 128, or 16, 32, "
        "64 and 128, up to task.max_length",
    )
    fixed_batches: Annotated[list[Annotated[int, Field(ge=2, le=MOST_TEXTS)]], Field(max_length=MOST_SHAPES)] | None = (
        Field(
            None,
            description="Batch sizes of the grid, each timed on texts of 32 tokens; default: by effort none, 16 or 16",
        )
    )

    def settings(self) -> EffortSettings:
        """The settings of the effort, with the explicit keys of this section in their place."""
        keys = {name: getattr(self, name) for name in type(self).model_fields if name in EFFORT_KEYS}
        return replace(settings_of(self.effort), **{name: value for name, value in keys.items() if value is not None})


class GateSection(RecipeSection):
    """The gate: limits on dev that a variant must meet to be shipped."""

    require: list[VariantName] = Field(
        [], description="Variants that must pass the gate; if one fails, the command ends with exit code 3"
    )
    student_share: Share | None = Field(
        0.99, description="Smallest share of the torch student's metric; null: no limit"
    )
    teacher_share: Share | None = Field(0.95, description="Smallest share of the teacher's metric; null: no limit")
    teacher_over_baseline: bool = Field(
        True,
        description="Stop before distillation if the teacher is below the TF-IDF baseline or has learned nothing, and "
        "ship no variant below the baseline",
    )
    batch_shift: Share | None = Field(
        None,
        description="Largest change of a probability when texts are batched or padded, where 1e-5 means none; default: "
        "no limit",
    )
    size_mb: Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)] | None = Field(
        None, description="Largest size of the bundle, in decimal megabytes; default: no limit"
    )
    latency_ms: Annotated[float, Field(gt=0, le=MOST_MS)] | None = Field(
        None,
        description="Largest median latency on this machine, from text to label at batch size 1, in milliseconds; "
        "default: no limit",
    )
