"""The ablations, from results/ablation/ and results/tasks/."""

from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from bench.report.table import markdown
from pocketbert.ablation.document import TITLES, notes_of, table_of
from pocketbert.ablation.summary import Ablation
from regions.cells import bullets, read_json


def _ablation(results: Path, name: str) -> Ablation:
    return TypeAdapter(Ablation).validate_python(read_json(results / f"{name}.json"))


def ablation_sst2(results: Path) -> str:
    """All tables of the ablation on SST-2."""
    ablation = _ablation(results, "ablation/sst2")
    return "\n\n".join(
        f"**{TITLES[table.name]}**\n\n{markdown(table_of(ablation, table))}" for table in ablation.tables
    )


def ablation_facts(results: Path) -> str:
    """The notes of the tables, and which differences have the sign of the paper."""
    ablation = _ablation(results, "ablation/sst2")
    by_verdict: dict[str, list[str]] = {}
    for table in ablation.tables:
        for variant in table.variants:
            if variant.paper_difference is not None and variant.verdict is not None:
                name = f"{variant.name} ({table.name})"
                by_verdict.setdefault(variant.agrees or variant.verdict, []).append(name)
    counted = [f"Compared with the paper, {verdict}: {', '.join(names)}." for verdict, names in by_verdict.items()]
    return bullets([*notes_of(ablation), *counted])


def _own_table(results: Path, name: str) -> str:
    ablation = _ablation(results, f"tasks/{name}-variants")
    return markdown(table_of(ablation, ablation.tables[0]))


def _own_facts(results: Path, name: str) -> str:
    """The notes of the table, and what the students keep of the teacher's score on dev and on test."""
    ablation = _ablation(results, f"tasks/{name}-variants")
    teacher, variants = ablation.teacher, ablation.tables[0].variants
    assert teacher is not None
    kept = [
        f"{variant.name} {variant.dev.value / teacher.dev:.1%} and {variant.test.value / teacher.test:.1%}"
        for variant in variants
        if variant.dev is not None and variant.test is not None
    ]
    return bullets([*notes_of(ablation), f"Kept of the teacher's score on dev and on test: {', '.join(kept)}."])


REGIONS = {
    "tasks-cola-variants": partial(_own_table, name="cola"),
    "tasks-cola-facts": partial(_own_facts, name="cola"),
    "tasks-rte-variants": partial(_own_table, name="rte"),
    "tasks-rte-facts": partial(_own_facts, name="rte"),
    "ablation-sst2": ablation_sst2,
    "ablation-facts": ablation_facts,
}
