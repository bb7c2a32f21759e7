"""A recipe shrunk to about a minute: every stage runs, on a few rows and for a few steps."""

from typing import TypeVar

from pocketbert.recipe.sections import Recipe, grid_of
from pocketbert.recipe.training import FineTuneSection, RecipeSection, StageSection

MARK = "-smoke"
ROWS, TEXTS, TOKENS, COPIES, CALIBRATION_ROWS = 200, 200, 32, 2, 32
EPOCHS, STEPS, BATCH_SIZE = 1, 4, 8
ROUNDS, WARM_UP_S = 2, 0.2

AnySection = TypeVar("AnySection", bound=RecipeSection)
AnyStage = TypeVar("AnyStage", bound=StageSection)


def smoke_recipe(recipe: Recipe) -> Recipe:
    """The same stages, models and student, with few rows, short texts and few steps.

    A smoke recipe has no gate: it only tests whether the recipe runs. Its own smoke recipe is itself.
    """
    teacher, distill, general, augment = recipe.teacher, recipe.distill, recipe.distill.general, recipe.augment
    is_fine_tuned = teacher.model is not None
    fine_tune = FineTuneSection() if is_fine_tuned else _short(teacher.fine_tune)
    if general is not None:
        general = _at_most(_short(general), max_texts=TEXTS, max_length=TOKENS)
    if augment is not None:
        head = augment.masked_lm.train_head
        if head is not None:
            head = _at_most(_short(head), max_texts=TEXTS, max_length=TOKENS)
        masked_lm = augment.masked_lm.model_copy(update={"train_head": head})
        augment = _at_most(augment.model_copy(update={"masked_lm": masked_lm}), copies_per_text=COPIES)
    stages = {
        "general": general,
        "intermediate": _short(distill.intermediate),
        "prediction": _short(distill.prediction),
    }
    lengths = [length for batch, length in grid_of(recipe) if batch == 1]
    settings = recipe.bench.settings()
    bench = {
        "compiled_teacher": False,
        "roofline": False,
        "thread_sweep": False,
        "latency_bound_ms": None,
        "fixed_lengths": [min(length, TOKENS) for length in lengths[:1]],
        "fixed_batches": [*settings.fixed_batches[:1]],
        "restart_every": recipe.bench.restart_every or ROUNDS,
    }
    export = recipe.export.model_copy(update={"teacher_variants": []})
    sections = {
        "smoke": True,
        "name": recipe.name.removesuffix(MARK) + MARK,
        "task": _at_most(recipe.task, max_rows=ROWS, max_length=TOKENS),
        "teacher": teacher.model_copy(update={"fine_tune": fine_tune}),
        "augment": augment,
        "distill": distill.model_copy(update=stages),
        "export": _at_most(export, calibration_rows=CALIBRATION_ROWS),
        "bench": _at_most(recipe.bench.model_copy(update=bench), rounds=ROUNDS, warm_up_s=WARM_UP_S),
        "gate": recipe.gate.model_copy(update={"require": []}),
    }
    return recipe.model_copy(update=sections)


def _short(stage: AnyStage) -> AnyStage:
    return _at_most(stage, epochs=EPOCHS, max_steps=STEPS, batch_size=BATCH_SIZE)


def _at_most(section: AnySection, **limits: float) -> AnySection:
    """The section with these keys lowered to their limits. A key without a value gets the limit."""
    values = {name: getattr(section, name) for name in limits}
    lowered = {name: limit if values[name] is None else min(values[name], limit) for name, limit in limits.items()}
    return section.model_copy(update=lowered)
