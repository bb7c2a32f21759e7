"""Prints ablations in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from pocketbert.cli_parts import printing

if TYPE_CHECKING:
    from pocketbert.ablation.estimate import PlannedWork
    from pocketbert.ablation.summary import Ablation


def work(planned: "PlannedWork") -> None:
    """The students of each variant, and the time that they take."""
    from pocketbert.pipeline.forecast import time_phrase

    lines = [
        (
            each.table,
            each.name,
            " + ".join(f"{steps:,}" for steps in each.num_steps.values()),
            str(each.num_seeds),
            str(each.num_finished),
        )
        for each in planned.variants
    ]
    printing.table(("table", "variant", "steps", "seeds", "finished"), lines)
    for reason in planned.left_out:
        printing.print_line(f"left out: {reason}")
    printing.print_line(
        f"{planned.num_to_do} of {planned.num_students} students to train, in {planned.num_stages} stages (equal ones "
        f"run once): {time_phrase(planned.estimated_s, planned.maximum_s)} on this machine"
    )
    printing.path("folder", Path(planned.folder))


def tables(ablation: "Ablation", folder: Path) -> None:
    """All tables with their notes, and the files."""
    from pocketbert.ablation.document import FILES, TITLES, notes_of, table_of

    for each in ablation.tables:
        printing.print_line("")
        printing.print_line(TITLES[each.name])
        text = table_of(ablation, each)
        printing.table(text.header, text.cells)
        for reason in each.left_out:
            printing.print_line(f"left out: {reason}")
    printing.print_line("")
    for note in notes_of(ablation):
        printing.print_line(note)
    for title, name in zip(("figures", "tables", "plot"), FILES, strict=True):
        if (folder / name).exists():
            printing.path(title, folder / name)
