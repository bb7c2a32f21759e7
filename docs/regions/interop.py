"""Other programs that load bundles, from results/interop/interop.json."""

from pathlib import Path
from typing import Any

from regions.cells import bullets, read_json, table

COLUMNS = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight", "pairs", "regression")


def _content(results: Path) -> Any:
    return read_json(results / "interop" / "interop.json")


def _entry(cell: Any) -> str:
    """Labels changed, and the largest difference of a probability."""
    if cell is None or cell["message"].startswith("not tried"):
        return ""
    if cell["message"]:
        return "no"
    changed, batched = cell["changed"], cell["changed_batched"]
    largest = max(cell["difference"], cell["difference_batched"] or 0.0)
    labels = str(changed) if not batched else f"{changed}, {batched} in batches"
    return f"{labels}; {_rounded(largest)}"


def _rounded(value: float) -> str:
    return "0" if value == 0 else "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def interop_table(results: Path) -> str:
    """One row per consumer, one column per variant."""
    cells = _content(results)["cells"]
    by_position = {(cell["consumer"], cell["variant"]): cell for cell in cells}
    consumers = dict.fromkeys(cell["consumer"] for cell in cells)
    rows = [
        (consumer, *(_entry(by_position.get((consumer, variant))) for variant in COLUMNS)) for consumer in consumers
    ]
    return table(("consumer", *(f"`{variant}`" for variant in COLUMNS)), rows)


def interop_messages(results: Path) -> str:
    """What consumers print where a bundle does not load, one line per consumer and message."""
    cells = [cell for cell in _content(results)["cells"] if cell["message"] and "not tried" not in cell["message"]]
    if not cells:
        return "The messages of 0 cells: every bundle loads in every consumer."
    variants: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        variants.setdefault((cell["consumer"], cell["message"]), []).append(f"`{cell['variant']}`")
    lines = bullets([f"{consumer}, {', '.join(names)}: {text}" for (consumer, text), names in variants.items()])
    return f'The messages of the {len(cells)} cells with "no":\n\n{lines}'


def interop_notes(results: Path) -> str:
    """What each consumer needs or lacks, one line per note."""
    consumers: dict[str, list[str]] = {}
    for consumer, note in _content(results)["notes"].items():
        consumers.setdefault(note, []).append(consumer)
    return bullets([f"{', '.join(names)}: {note}" for note, names in consumers.items()])


def interop_texts(results: Path) -> str:
    """The number of texts."""
    return str(_content(results)["num_texts"])


REGIONS = {
    "interop-table": interop_table,
    "interop-notes": interop_notes,
    "interop-messages": interop_messages,
    "interop-texts": interop_texts,
}
