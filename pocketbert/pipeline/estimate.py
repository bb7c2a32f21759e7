"""`pocketbert check`: the plan of a run, its sizes, and its duration, estimated from a few real steps. Loads torch."""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.measurement import machine
from bench.measurement.noise import BUSY_CORES, OtherPrograms
from bench.results.document import Choice, SplitSizes
from compress.data.tasks import Task
from compress.data.token_lengths import TokenCounts, count_tokens, counter_of
from compress.data.tokenization import TokenDataset, encode_split
from compress.models import loading
from compress.models.student import new_student
from pocketbert.data.recipe_task import remarks_on
from pocketbert.pipeline.forecast import ModelSummary, RunForecast, StageForecast, TokenLengths
from pocketbert.pipeline.plan import StageName, plan_of
from pocketbert.recipe.choices import Resolved
from pocketbert.recipe.sections import Recipe, masked_lm_of
from pocketbert.store.manifest import StagePlan
from pocketbert.store.stage_state import TO_DO, state_of, steps_done
from pocketbert.timing.amounts import Sizes, Speeds, batch_sizes, num_stage_steps, section_of
from pocketbert.timing.corpus_blocks import CorpusBlocks, read_blocks
from pocketbert.timing.measure import Materials, measure_speeds
from pocketbert.timing.stage_times import stage_time
from pocketbert.timing.step_cost import StepCost, TimeRange, slowed, total
from pocketbert.timing.step_timing import Stopwatch

SAMPLED_ROWS, SAMPLED_LETTERS = 5000, 1_000_000  # from which the timed batches come
CORPUS_SHARE = 0.15  # of the time limit, for reading a corpus
LIMIT_S, LEAST_S = 7.0, 3.0  # for timing
COMMAND_S = 11.5  # of the whole command, with its start


def forecast(
    resolved: Resolved,
    task: Task,
    folder: Path,
    on_stage: Callable[[str], None] = lambda stage: None,
    *,
    limit_s: float = LIMIT_S,
) -> RunForecast:
    """Plan the run, and time a few steps of each training stage to do.

    `on_stage` gets the name of each stage. `limit_s`: for all timing together; at least two steps of each stage are
    timed. Raises UserError if a corpus cannot be read.
    """
    others, recipe = OtherPrograms(), resolved.recipe
    plan = plan_of(recipe, task)
    states = {stage.name: state_of(stage, folder) for stage in plan}
    to_do = [stage for stage, state in states.items() if state in TO_DO]
    done = _steps_done(plan, states, folder)
    measured = measure(recipe, task, to_do, others, steps_done=done, limit_s=limit_s, on_stage=on_stage)
    name, corpora, lengths = teacher_name(recipe), measured.corpora, measured.lengths
    ranges: dict[StageName, TimeRange] = {stage: measured.time_of(stage, recipe) for stage in to_do}
    timed: Mapping[str, StepCost] = {} if measured.speeds is None else measured.speeds.steps
    whole = total(ranges.values())
    busy_cores = _contended_cores(others.busy_cores())
    return RunForecast(
        name=recipe.name,
        folder=str(folder),
        labels=list(task.labels),
        task_type=task.type,
        metric=recipe.task.metric,
        num_rows=SplitSizes(train=len(task.train), dev=len(task.dev), test=len(task.test)),
        remarks=remarks_on(recipe, task),
        tokens=TokenLengths(
            median=float(np.median(lengths.counts)),
            longest=lengths.longest,
            max_length=task.max_length,
            share_cut=lengths.share_longer(task.max_length),
            basis=lengths.basis,
        ),
        teacher=_summary(name, measured.teacher),
        student=_summary(_first_weights(recipe), measured.student),
        stages=[
            _stage_forecast(stage.name, states[stage.name], recipe, measured.sizes, ranges, timed, corpora)
            for stage in plan
        ],
        estimated_s=whole.expected_s,
        maximum_s=whole.maximum_s,
        variants=list(recipe.export.variants),
        required=list(recipe.gate.require),
        choices=list[Choice](resolved.choices),
        busy_cores=round(busy_cores, 2),
        usable_cores=machine.usable_cores(),
        warnings=_warnings(recipe, busy_cores, to_do, corpora),
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What estimates of a recipe's stages, and of variants of the recipe with the same models, are made from.

    `speeds`: None if there is nothing to do.
    """

    teacher: PreTrainedModel
    student: PreTrainedModel
    lengths: TokenCounts
    corpora: Mapping[StageName, CorpusBlocks]
    sizes: Sizes
    speeds: Speeds | None

    def time_of(self, stage: StageName, recipe: Recipe) -> TimeRange:
        """The time of a stage of a recipe without `auto`."""
        assert self.speeds is not None
        return slowed(stage_time(stage, recipe, self.sizes, self.speeds), self.speeds.slowdown)


def measure(
    recipe: Recipe,
    task: Task,
    to_do: Sequence[StageName],
    others: OtherPrograms,
    *,
    steps_done: Mapping[str, int] | None = None,
    limit_s: float = LIMIT_S,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Measured:
    """Time a few steps of the stages to do. `recipe`: without `auto`. Arguments and errors are those of `forecast`."""
    deadline, name = time.perf_counter() + limit_s, teacher_name(recipe)
    teacher = loading.load_classifier(name, None if recipe.teacher.model else task.labels, task_type=task.type)
    student = new_student(
        recipe.student.shape, teacher, task.labels, task_type=task.type, architecture=recipe.student.architecture
    )
    tokenizer = loading.load_tokenizer(name)
    lengths = count_tokens(task.train.rows(), counter_of(tokenizer.backend_tokenizer), seed=recipe.seed)
    corpora = _read_corpora(recipe, task, tokenizer, to_do, limit_s=CORPUS_SHARE * limit_s)
    sizes = _sizes(recipe, task, lengths, teacher, student, corpora, steps_done or {})
    speeds = None
    if to_do:
        materials = Materials(
            teacher=teacher,
            student=student,
            rows=_sampled_rows(task, tokenizer, seed=recipe.seed),
            blocks={stage: corpus.sample for stage, corpus in corpora.items()},
            num_rows=len(task.train),
        )
        left_s = max(LEAST_S, deadline - time.perf_counter())
        is_busy = _contended_cores(others.busy_cores()) > BUSY_CORES
        stopwatch = Stopwatch(is_busy=is_busy, num_threads=torch.get_num_threads())
        with stopwatch.undisturbed():
            speeds = measure_speeds(recipe, materials, to_do, limit_s=left_s, stopwatch=stopwatch, on_stage=on_stage)
    return Measured(teacher=teacher, student=student, lengths=lengths, corpora=corpora, sizes=sizes, speeds=speeds)


def teacher_name(recipe: Recipe) -> str:
    """The name of the teacher, or of its base."""
    return recipe.teacher.model or recipe.teacher.base or ""


def time_left() -> float:
    """The seconds that a command which began with this process has left for timing."""
    return max(LEAST_S, min(LIMIT_S, COMMAND_S - (time.time() - psutil.Process().create_time())))


def _read_corpora(
    recipe: Recipe, task: Task, tokenizer: PreTrainedTokenizerBase, to_do: Iterable[str], *, limit_s: float
) -> dict[StageName, CorpusBlocks]:
    """The blocks of the stages to do that read running text."""
    corpora: dict[StageName, CorpusBlocks] = {}
    if recipe.distill.general is not None and "general" in to_do:
        corpora["general"] = read_blocks(recipe.distill.general, task, tokenizer, limit_s=limit_s)
    head = None if recipe.augment is None else recipe.augment.masked_lm.train_head
    if head is not None and "masked_lm" in to_do:
        own = loading.load_tokenizer(masked_lm_of(recipe))
        corpora["masked_lm"] = read_blocks(head, task, own, limit_s=limit_s)
    return corpora


def _sampled_rows(task: Task, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> TokenDataset:
    """Random train rows as tokens, from which the timed batches come."""
    order = np.random.default_rng(seed).permutation(len(task.train))[:SAMPLED_ROWS]
    letters = np.cumsum([sum(map(len, row)) for row in task.train.take(order).rows()])
    count = max(1, int(np.searchsorted(letters, SAMPLED_LETTERS)))
    return encode_split(task.train.take(np.sort(order[:count])), tokenizer, max_length=task.max_length)


def _sizes(
    recipe: Recipe,
    task: Task,
    lengths: TokenCounts,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    corpora: Mapping[StageName, CorpusBlocks],
    done: Mapping[str, int],
) -> Sizes:
    return Sizes(
        num_train=len(task.train),
        num_dev=len(task.dev),
        num_test=len(task.test),
        num_labels=len(task.labels),
        takes_pairs=task.train.pairs is not None,
        lengths=np.minimum(lengths.counts, recipe.task.max_length),
        teacher_weights=loading.num_parameters(teacher),
        student_weights=loading.num_parameters(student),
        num_blocks={stage: corpus.num_blocks for stage, corpus in corpora.items()},
        steps_done=done,
    )


def _steps_done(plan: Sequence[StagePlan[StageName]], states: Mapping[StageName, str], folder: Path) -> dict[str, int]:
    return {stage.name: steps_done(stage, folder) for stage in plan if states[stage.name] == "begun"}


def _stage_forecast(
    stage: StageName,
    state: str,
    recipe: Recipe,
    sizes: Sizes,
    ranges: Mapping[StageName, TimeRange],
    timed: Mapping[str, StepCost],
    corpora: Mapping[StageName, CorpusBlocks],
) -> StageForecast:
    time_range = ranges.get(stage, TimeRange())
    section, bases = section_of(stage, recipe), []
    if stage in corpora and corpora[stage].basis is not None:
        bases.append(f"from {corpora[stage].basis}")
    if stage in timed and section is not None and timed[stage].timed_rows < max(batch_sizes(section)):
        rows = timed[stage].timed_rows
        bases.append(f"from batches of {rows} row{'s' * (rows > 1)} instead of {max(batch_sizes(section))}")
    is_counted = stage in sizes.num_blocks or stage not in ("general", "masked_lm")
    return StageForecast(
        name=stage,
        state=state,
        num_steps=num_stage_steps(stage, recipe, sizes) if is_counted else None,
        estimated_s=time_range.expected_s,
        maximum_s=time_range.maximum_s,
        extrapolated="; ".join(bases) or None,
    )


def _warnings(
    recipe: Recipe, busy_cores: float, to_do: Sequence[StageName], corpora: Mapping[StageName, CorpusBlocks]
) -> list[str]:
    """Reasons why the estimate may be wrong."""
    warnings = []
    usable = machine.usable_cores()
    if to_do and busy_cores > BUSY_CORES:
        warnings.append(
            f"{busy_cores:.1f} of {usable} cores are busy with other programs, so the run takes longer than "
            "estimated; the maximum is for a machine as busy as now"
        )
    for stage, corpus in corpora.items():
        if corpus.is_bound:
            warnings.append(
                f"{stage}: the size of its corpus is unknown, so the stage takes longer than estimated; to limit it, "
                f"set max_steps"
            )
    if recipe.compute.compile and to_do:
        warnings.append("compute.compile: the minutes of compiling are not in the estimate, nor is the gain")
    return warnings


def _contended_cores(busy_cores: float) -> float:
    """The cores that other programs take from this process, which may use only some of the machine's cores."""
    usable = machine.usable_cores()
    idle = max(0.0, (os.cpu_count() or usable) - busy_cores)
    return min(float(usable), max(0.0, usable - idle))


def _first_weights(recipe: Recipe) -> str:
    match recipe.student.initialisation:
        case "projected":
            return "first weights: the teacher's, projected"
        case "teacher_layers":
            return "first weights: layers of the teacher"
        case "checkpoint":
            return f"first weights: {recipe.student.checkpoint}"
    return "first weights: random"


def _summary(name: str, model: PreTrainedModel) -> ModelSummary:
    return ModelSummary(
        name=name,
        architecture=model.config.model_type,
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        heads=model.config.num_attention_heads,
        num_parameters=loading.num_parameters(model),
    )
