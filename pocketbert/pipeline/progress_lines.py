"""A line for the terminal after a stage: its dev score next to those of the teacher and the baseline."""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from pocketbert.store.manifest import StageRecord

STUDENT_STAGES = ("intermediate", "prediction")


def stage_line(stage: str, records: Mapping[str, StageRecord], metric: str) -> str | None:
    """The dev score after a stage, as "student after prediction: dev accuracy 0.915; teacher 0.921; baseline 0.883".

    `records`: of the finished stages, this one included. `metric`: its name. None for a stage without a score.
    """
    record = records.get(stage)
    if record is None:
        return None
    match stage:
        case "masked_lm":
            accuracy = _number(record.result, "accuracy", "top1")
            return (
                None if accuracy is None else f"masked language model: top-1 accuracy {accuracy:.3f} on held-out text"
            )
        case "export":
            scores = _bundle_scores(record.result)
            return _line("bundles", metric, scores, records, ("student", "teacher", "baseline")) if scores else None
        case "baseline" | "teacher" | "intermediate" | "prediction":
            score = _dev_score(stage, records)
            if score is None:
                return None
            if stage == "baseline":
                return _baseline_line(metric, score, record.result)
            name = f"student after {stage}" if stage in STUDENT_STAGES else stage
            note = " (with the teacher's head)" if stage == "intermediate" else ""
            earlier = ("baseline",) if stage == "teacher" else ("teacher", "baseline")
            return _line(name + note, metric, f"{score:.3f}", records, earlier)
    return None


def _baseline_line(metric: str, score: float, result: JsonValue) -> str:
    """The baseline's score, with the name of the model and the score of the most common label, if they are known."""
    model = result.get("model") if isinstance(result, dict) else None
    has_classes = _number(result, "most_common_accuracy", "dev") is not None
    constant = _number(result, "most_common", "dev") if has_classes else None
    common = "" if constant is None else f" (most common label {constant:.3f})"
    return f"baseline: {f'{model}: ' if model else ''}dev {metric} {score:.3f}{common}"


def _line(name: str, metric: str, scores: str, records: Mapping[str, StageRecord], others: tuple[str, ...]) -> str:
    known = {other: _dev_score("prediction" if other == "student" else other, records) for other in others}
    compared = [f"{other} {score:.3f}" for other, score in known.items() if score is not None]
    return "; ".join([f"{name}: dev {metric} {scores}", *compared])


def _dev_score(stage: str, records: Mapping[str, StageRecord]) -> float | None:
    record = records.get(stage)
    return None if record is None else _number(record.result, "scores", "dev")


def _bundle_scores(exported: JsonValue) -> str:
    """The dev score of each variant."""
    variants = exported.get("variants") if isinstance(exported, dict) else None
    if not isinstance(variants, dict):
        return ""
    scores = {name: _number(variant, "parity", "score") for name, variant in variants.items()}
    return ", ".join(f"{name} {score:.3f}" for name, score in scores.items() if score is not None)


def _number(value: JsonValue, *path: str) -> float | None:
    """The finite number at a path of keys; None if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
