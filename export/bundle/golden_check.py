"""Repeats golden examples when a bundle is loaded. Imports only the standard library.

This module is part of every bundle's predict.py. `verification` repeats all golden examples.
"""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from export.bundle.settings import Golden

MOST_REPEATED = 5  # so that loading takes little longer


def golden_failure(
    golden: Sequence[Golden], tolerance: float, logits_of: Callable[[str, str | None], Sequence[float]]
) -> str | None:
    """How far the logits of some golden examples differ from the stored ones; None if rounding explains it.

    The examples are the shortest ones, and the longest one, which is truncated.
    """
    by_length = sorted(range(len(golden)), key=lambda number: len(golden[number].text) + len(golden[number].pair or ""))
    for number in [*by_length[: MOST_REPEATED - 1], *by_length[MOST_REPEATED - 1 :][-1:]]:
        example = golden[number]
        logits = logits_of(example.text, example.pair)
        differences = [abs(one - other) for one, other in zip(logits, example.logits, strict=True)]
        if not all(difference <= tolerance for difference in differences):  # also for NaN
            return (
                f"golden example {number}: a logit differs by {max(differences):.4g}; rounding explains at most "
                f"{tolerance:.4g}"
            )
    return None


def processor_name() -> str:
    """The model of this processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, models), "") or platform.processor() or platform.machine() or "unknown"
