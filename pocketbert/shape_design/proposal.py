"""Proposes the shape of a student for a budget: times shapes, keeps those that fit, and compares the largest ones."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench.measurement import machine
from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import disk_errors
from compress.common.progress import progress_bar
from compress.data.tasks import Task
from compress.models import sources
from compress.models.compatibility import Activation, read_encoder
from compress.models.shape import StudentShape
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.models import BudgetSection, num_parameters
from pocketbert.recipe.sections import Recipe
from pocketbert.shape_design.candidate_shapes import (
    BERT_BASE,
    REFERENCE,
    Limits,
    candidate_shapes,
    embedding_bytes,
    num_products,
    to_compare,
)

MOST_TIMED, MOST_COMPARED = 3, 3  # per number of layers; and of all
ROUNDS, PROBE_ROUNDS, STEPS = 12, 3, 100
TIMED_FROM, TIMED_TO = 0.5, 1.2  # of the budget, by the estimate from two probes
MEGABYTE = 1e6
TOKENIZER_BYTES = 700_000  # of BERT's tokenizer.json, if there is no teacher whose file can be read


@dataclass(frozen=True, kw_only=True)
class TimedShape:
    """A shape with its measured latency, the median over all calls, and its 95 % interval.

    `weights`: of the layers. `size_mb`: of model and tokenizer. `fits`: the budget. `loss`: of the last layer after
    equal steps; None if it was not compared.
    """

    shape: StudentShape
    weights: int
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    size_mb: float
    fits: bool
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Design:
    """The shapes of one interleaved run, by weights, and the proposal: the index of one of them.

    `num_considered`: the shapes whose time was estimated. `steps`: of the comparison; 0 without a recipe.
    """

    latency_ms: float
    size_mb: float | None
    tokens: int
    threads: int
    variant: str
    cpu: str
    num_considered: int
    shapes: list[TimedShape]
    proposal: int
    steps: int
    seconds: float

    @property
    def proposed(self) -> TimedShape:
        """The proposal."""
        return self.shapes[self.proposal]

    @property
    def reference(self) -> TimedShape | None:
        """TinyBERT4, if it was timed."""
        return next((each for each in self.shapes if each.shape == REFERENCE), None)


def with_shape(recipe: Recipe, folder: Path, console: Console) -> Recipe:
    """The recipe with the shape that fits its budget. A recipe with a shape is returned as it is. Raises UserError.

    `folder`: of the run. If it has a shape for the same budget, that shape is kept.
    """
    if not recipe.student.needs_design:
        return recipe
    if distributed.count() > 1:
        raise UserError("student.budget: several processes cannot choose a shape; put that of `pocketbert design` here")
    assert recipe.student.budget is not None
    shape = _shape_of_run(recipe, folder)
    if shape is None:
        task = load_recipe_task(recipe, Console(quiet=True))
        design = design_student(recipe.student.budget, recipe, task, rounds=ROUNDS, steps=STEPS, console=console)
        console.print(f"student.budget: {sentence(design)}", soft_wrap=True)
        shape = design.proposed.shape
    student = recipe.student.model_copy(update=vars(shape))
    return recipe.model_copy(update={"student": student})


def _shape_of_run(recipe: Recipe, folder: Path) -> StudentShape | None:
    """The shape that an earlier run in this folder chose for the same budget."""
    file = folder / "recipe.yaml"
    if not file.is_file():
        return None
    try:
        student = load_recipe(str(file), on_warning=lambda _: None).student
    except UserError:
        return None
    return None if student.needs_design or student.budget != recipe.student.budget else student.shape


def sentence(design: Design) -> str:
    """The proposal, its figures, and what the budget costs compared with TinyBERT4."""
    best, reference = design.proposed, design.reference
    text = f"{yaml_of(best.shape)} takes {best.latency_ms:.3g} ms and {best.size_mb:.1f} MB"
    if reference is None or reference is best:
        return text
    text += (
        f"; compared with tinybert4, {reference.latency_ms / best.latency_ms:.2f} times as fast with "
        f"{best.weights / reference.weights:.2f} times the weights"
    )
    if best.loss is not None and reference.loss is not None:
        losses = f"{best.loss:.3f}, tinybert4's {reference.loss:.3f}"
        text += f"; after {design.steps} steps its last layer has loss {losses}"
    return text


def yaml_of(shape: StudentShape) -> str:
    """The shape as in a recipe."""
    return f"{{layers: {shape.layers}, width: {shape.width}, ffn_width: {shape.ffn_width}, heads: {shape.heads}}}"


def design_student(
    budget: BudgetSection,
    recipe: Recipe | None,
    task: Task | None,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    console: Console,
) -> Design:
    """Propose a shape for the budget. With a recipe, up to three are compared by layer loss. Raises UserError.

    Among the shapes within the budget, those with the most weights in their layers are the most likely to keep the
    teacher's quality. One per number of layers is compared, and the one whose last layer comes nearest wins.
    """
    started = time.perf_counter()
    limits, tokenizer_bytes = BERT_BASE, TOKENIZER_BYTES
    activation: Activation = "gelu"
    if recipe is not None:
        limits, tokenizer_bytes = _limits(recipe)
        activation = recipe.student.activation or "gelu"
    tokens = budget.tokens or (recipe.task.max_length if recipe is not None else 64)
    if tokens > limits.positions:
        raise UserError(f"got a budget for {tokens} tokens; the teacher has positions for {limits.positions}")
    threads = budget.threads or machine.usable_cores()
    shapes = _shapes(limits)
    with TemporaryDirectory() as scratch, disk_errors(Path(scratch)):
        bench = _Bench(
            limits=limits, budget=budget, tokens=tokens, threads=threads, activation=activation,
            tokenizer_bytes=tokenizer_bytes, folder=Path(scratch), console=console,
        )  # fmt: skip
        timed = bench.time_all(shapes, rounds=rounds)
    fitting = [each for each in timed if each.fits]
    if not fitting:
        raise _nothing_fits(timed, budget, tokens, limits)
    best = fitting[0]
    if recipe is not None and task is not None:
        timed = _compared(timed, recipe, task, steps=steps, console=console)
        best = min((each for each in timed if each.fits and each.loss is not None), key=lambda each: each.loss or 0.0)
    return Design(
        latency_ms=budget.latency_ms,
        size_mb=budget.size_mb,
        tokens=tokens,
        threads=threads,
        variant=budget.variant,
        cpu=machine.describe().cpu,
        num_considered=len(shapes),
        shapes=timed,
        proposal=timed.index(best),
        steps=steps if recipe is not None else 0,
        seconds=time.perf_counter() - started,
    )


def smallest_shape(recipe: Recipe) -> StudentShape:
    """The candidate with the fewest products. Raises UserError if the teacher is smaller than all."""
    return _shapes(_limits(recipe)[0])[0]


def _shapes(limits: Limits) -> list[StudentShape]:
    shapes = candidate_shapes(limits)
    if not shapes:
        raise UserError(
            f"no candidate fits a teacher of {limits.layers} layers, width {limits.width} and {limits.heads} heads; "
            "candidates have 2 layers and width 32 at least"
        )
    return shapes


def _limits(recipe: Recipe) -> tuple[Limits, int]:
    """The largest student of a recipe, and the bytes of its tokenizer, reduced as its vocabulary."""
    name = recipe.teacher.model or recipe.teacher.base or ""
    teacher, section = read_encoder(name), recipe.student.vocabulary
    limits = Limits.of(teacher, None if section is None else section.size)
    file = Path(sources.locate(name)) / "tokenizer.json"
    size = file.stat().st_size if file.is_file() else TOKENIZER_BYTES
    return limits, int(size * limits.vocab_size / teacher.vocab_size)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Builds and times shapes for a budget."""

    limits: Limits
    budget: BudgetSection
    tokens: int
    threads: int
    activation: Activation
    tokenizer_bytes: int
    folder: Path
    console: Console

    def time_all(self, shapes: Sequence[StudentShape], *, rounds: int) -> list[TimedShape]:
        """Time the shapes near the budget, most weights first. `shapes`: ascending by products."""
        from pocketbert.shape_design.shape_timing import time_models

        probes = [shapes[0], shapes[-1]]
        models = self._build(probes)
        first, last = (
            each.median_ms
            for each in time_models(
                [models[shape] for shape in probes], tokens=self.tokens, threads=self.threads, rounds=PROBE_ROUNDS
            )
        )
        selected = self._near_budget(shapes, first, last)
        models |= self._build([shape for shape in selected if shape not in models])
        with progress_bar("timing shapes", self.console) as on_progress:
            summaries = time_models(
                [models[shape] for shape in selected],
                tokens=self.tokens,
                threads=self.threads,
                rounds=rounds,
                on_progress=on_progress,
            )
        timed = []
        for shape, summary in zip(selected, summaries, strict=True):
            interval, size_mb = summary.intervals["p50"], self._size_mb(shape, models[shape])
            timed.append(
                TimedShape(
                    shape=shape,
                    weights=num_parameters(shape),
                    latency_ms=summary.median_ms,
                    latency_low_ms=interval.low,
                    latency_high_ms=interval.high,
                    size_mb=size_mb,
                    fits=summary.median_ms <= self.budget.latency_ms
                    and (self.budget.size_mb is None or size_mb <= self.budget.size_mb),
                )
            )
        return sorted(timed, key=lambda each: -each.weights)

    def _build(self, shapes: Sequence[StudentShape]) -> dict[StudentShape, Path]:
        from pocketbert.shape_design.shape_timing import build_model

        models = {}
        with progress_bar("building students", self.console) as on_progress:
            for done, shape in enumerate(shapes, start=1):
                models[shape] = build_model(
                    shape, self.limits.positions, self.budget.variant, self.activation, self.folder
                )
                on_progress(done, len(shapes))
        return models

    def _near_budget(self, shapes: Sequence[StudentShape], first_ms: float, last_ms: float) -> list[StudentShape]:
        """Those to time: three per number of layers, estimated to be near the budget; TinyBERT4; the smallest shape."""
        products = {shape: num_products(shape, self.tokens) for shape in shapes}
        low, high = products[shapes[0]], products[shapes[-1]]
        slope = (last_ms - first_ms) / (high - low) if high > low else 0.0
        budget_ms, size_mb = self.budget.latency_ms, self.budget.size_mb
        near = [
            shape
            for shape in shapes
            if TIMED_FROM <= (first_ms + slope * (products[shape] - low)) / budget_ms <= TIMED_TO
            and (size_mb is None or self._least_mb(shape) <= size_mb)
        ]
        if not near and last_ms < budget_ms:
            near = [shape for shape in shapes if size_mb is None or self._least_mb(shape) <= size_mb]
        near = sorted(near, key=num_parameters, reverse=True)
        references = [shape for shape in (REFERENCE, shapes[0]) if shape in products]
        by_depth: dict[int, list[StudentShape]] = {}
        for shape in near:
            by_depth.setdefault(shape.layers, []).append(shape)
        selected = [shape for group in by_depth.values() for shape in _spread(group, MOST_TIMED)]
        return list(dict.fromkeys([*selected, *references]))

    def _least_mb(self, shape: StudentShape) -> float:
        """A lower bound of the size: weights, embedding and tokenizer."""
        bits = 4 if self.budget.variant == "int4-static" else 8
        rows = embedding_bytes(shape.width, self.limits.vocab_size, self.budget.variant)
        return (num_parameters(shape) * bits / 8 + rows + self.tokenizer_bytes) / MEGABYTE

    def _size_mb(self, shape: StudentShape, model: Path) -> float:
        """The size of the model with the whole vocabulary, and of its tokenizer."""
        from pocketbert.shape_design.shape_timing import VOCABULARY

        missing = embedding_bytes(shape.width, self.limits.vocab_size - VOCABULARY, self.budget.variant)
        return (model.stat().st_size + missing + self.tokenizer_bytes) / MEGABYTE


def _spread(shapes: Sequence[StudentShape], count: int) -> list[StudentShape]:
    """At most `count` of the shapes: evenly spaced ones if there are more, with the first and the last."""
    if len(shapes) <= count:
        return list(shapes)
    return [shapes[round(index * (len(shapes) - 1) / max(1, count - 1))] for index in range(count)]


def _compared(
    timed: Sequence[TimedShape], recipe: Recipe, task: Task, *, steps: int, console: Console
) -> list[TimedShape]:
    """The shapes, of which the most likely ones and TinyBERT4 have a loss."""
    from pocketbert.shape_design.layer_losses import last_layer_losses

    chosen = to_compare([each.shape for each in timed if each.fits], MOST_COMPARED)
    compared = list(dict.fromkeys([*chosen, *(each.shape for each in timed if each.shape == REFERENCE)]))
    losses = dict(zip(compared, last_layer_losses(compared, recipe, task, steps=steps, console=console), strict=True))
    return [replace(each, loss=losses.get(each.shape)) for each in timed]


def _nothing_fits(timed: Sequence[TimedShape], budget: BudgetSection, tokens: int, limits: Limits) -> UserError:
    fastest = min(timed, key=lambda each: each.latency_ms)
    embedding = embedding_bytes(fastest.shape.width, limits.vocab_size, budget.variant) / MEGABYTE
    size = "" if budget.size_mb is None else f" and {budget.size_mb:g} MB"
    return UserError(
        f"no shape fits {budget.latency_ms:g} ms{size}: {yaml_of(fastest.shape)}, the fastest one timed, takes "
        f"{fastest.latency_ms:.3g} ms for {tokens} tokens and {fastest.size_mb:.1f} MB, of which the "
        f"{limits.vocab_size:,} tokens of the vocabulary take {embedding:.1f} MB; raise the budget"
    )
