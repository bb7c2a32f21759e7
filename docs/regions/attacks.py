"""The attack suite's table, from results/attack/attacks.json."""

from collections.abc import Callable, Mapping
from pathlib import Path

from regions.cells import minutes, read_json, table

COUNTS = ("tried", "refused", "harmless", "bugs")


def attack_table(results: Path) -> str:
    """A row per type of attack, and the sum."""
    rows = read_json(results / "attack" / "attacks.json")["rows"]
    total = {"type": "all", **{name: sum(row[name] for row in rows) for name in COUNTS}}
    return table(
        ("type", *COUNTS),
        [[str(row["type"]), *[f"{row[name]:,}" for name in COUNTS]] for row in (*rows, total)],
    )


def attack_duration(results: Path) -> str:
    """How long the suite took."""
    document = read_json(results / "attack" / "attacks.json")
    part = "short part of the suite" if document["part"] == "short" else "full suite"
    return f"The {part} took {minutes(document['seconds'])}, with {document['jobs']} attacks at a time."


REGIONS: Mapping[str, Callable[[Path], str]] = {"attack-table": attack_table, "attack-duration": attack_duration}
