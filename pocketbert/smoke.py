"""A recipe shrunk to about a minute: every stage runs, on a few rows and for a few steps."""

from typing import Any

from pocketbert.recipe import Recipe, grid_lengths

MARK = "-smoke"
ROWS, TEXTS, TOKENS, VARIANTS, CALIBRATION_ROWS = 200, 200, 32, 2, 32
STAGE = {"epochs": 1, "max_steps": 4, "batch_size": 8}


def shrunk(recipe: Recipe) -> Recipe:
    """The same stages, models and student with few rows, short texts and a few steps; shrinking twice changes nothing.

    Nothing is required of the result: it shows that the recipe runs, not how good it would be.
    """
    content = recipe.model_dump()
    content["smoke"] = True
    content["name"] = recipe.name.removesuffix(MARK) + MARK
    _at_most(content["task"], max_rows=ROWS, max_length=TOKENS)
    stages = [content["teacher"]["fine_tune"], content["distill"]["intermediate"], content["distill"]["prediction"]]
    augment = content["augment"]
    if augment is not None:
        _at_most(augment, variants=VARIANTS)
        head = augment["masked_lm"]["train_head"]
        if head is not None:
            _at_most(head, max_texts=TEXTS, max_length=TOKENS)
            stages.append(head)
    general = content["distill"]["general"]
    if general is not None:
        _at_most(general, max_texts=TEXTS, max_length=TOKENS)
        stages.append(general)
    for stage in stages:
        _at_most(stage, **STAGE)
    if recipe.teacher.model is not None:
        content["teacher"].pop("fine_tune")  # nothing is fine-tuned
    _at_most(content["bench"], rounds=2, warm_up_s=0.2)
    content["bench"] |= {"compiled_teacher": False, "limits": False, "thread_sweep": False, "latency_bound_ms": None}
    content["export"]["teacher_variants"] = []
    content["bench"]["fixed_lengths"] = [min(length, TOKENS) for length in grid_lengths(recipe)[:1]]
    content["bench"]["fixed_batches"] = recipe.bench.fixed_batches[:1]
    content["gate"]["require"] = []
    _at_most(content["export"], calibration_rows=CALIBRATION_ROWS)
    return Recipe.model_validate(content)


def _at_most(section: dict[str, Any], **limits: float) -> None:
    for name, limit in limits.items():
        section[name] = limit if section[name] is None else min(section[name], limit)
