"""The table of the guide: what changes of a recipe did to the score of its student."""

from pathlib import Path

from pydantic import TypeAdapter

from pocketbert.ablation.document import mean_text
from pocketbert.ablation.summary import Ablation, VariantResult
from regions.cells import read_json, table

SOURCES = {  # the ablations and their tables
    "ablation/sst2": ("SST-2", ("initialisation", "procedures")),
    "tasks/cola-variants": ("CoLA", ("own",)),
    "tasks/rte-variants": ("RTE", ("own",)),
}


def guide_effects(results: Path) -> str:
    """A row for each change: the student's score without and with it, and whether the difference is separable."""
    lines = []
    for name, (task, tables) in SOURCES.items():
        ablation = TypeAdapter(Ablation).validate_python(read_json(results / f"{name}.json"))
        for each in ablation.tables:
            recipe, *variants = each.variants
            lines += [_line(task, recipe, variant) for variant in variants if each.name in tables]
    return table(("task", "change", "without", "with", "difference", "verdict"), lines, text_columns=(0, 1, 5))


def _line(task: str, recipe: VariantResult, variant: VariantResult) -> tuple[str, ...]:
    assert recipe.test is not None and variant.test is not None and variant.difference is not None
    return (
        task,
        variant.name,
        f"{recipe.test.value:.3f}",
        f"{variant.test.value:.3f}",
        mean_text(variant.difference.seeds, sign="+"),
        variant.verdict or "",
    )


REGIONS = {"guide-effects": guide_effects}
