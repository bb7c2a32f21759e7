"""Repeats golden examples when a bundle is loaded. Imports only the standard library.

This module is part of every bundle's predict.py. `verification` repeats all golden examples.
"""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from export.bundle.settings import Golden

MOST_REPEATED = 5  # so that loading takes little longer
WRONG_WITH_AMX = ("1.21.", "1.22.", "1.23.", "1.24.", "1.25.")  # versions of onnxruntime; measured: 1.21 to 1.24


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


def advice(version: str, written_by: str) -> str:
    """What to do if golden examples differ. `version`, `written_by`: of onnxruntime, here and for the bundle."""
    if version.startswith(WRONG_WITH_AMX) and "amx_int8" in _cpu_info().split():
        return (
            "versions 1.21 to 1.25 of onnxruntime compute some int8 products wrongly on processors with AMX; use 1.26 "
            "or newer, or the variant fp32"
        )
    return f"try another version of onnxruntime (the bundle: {written_by}), or the variant fp32"


def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def processor_name() -> str:
    """The model of this processor, as the system names it."""
    models = [line.partition(":")[2].strip() for line in _cpu_info().splitlines() if line.startswith("model name")]
    return next(filter(None, models), "") or platform.processor() or platform.machine() or "unknown"
