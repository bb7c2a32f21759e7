"""Writes recipes of tiny models."""

from pathlib import Path

from ruamel.yaml import YAML

QUICK = {"epochs": 1, "max_steps": 1, "batch_size": 8, "learning_rate": 1e-3}


def write_recipe(root: Path, data: Path, *, name: str = "tiny.yaml", **sections: dict[str, object]) -> str:
    """A recipe for a table in `root`. `sections`: keys that are added to those of a section, such as `teacher`."""
    content: dict[str, dict[str, object] | str] = {
        "name": "tiny",
        "task": {"data": str(data), "max_length": 32, **sections.pop("task", {})},
        "teacher": {"fine_tune": QUICK, **sections.pop("teacher")},
        "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4, **sections.pop("student", {})},
        "distill": {"intermediate": QUICK, "prediction": QUICK, **sections.pop("distill", {})},
        "gate": {"teacher_over_baseline": False, **sections.pop("gate", {})},
        **sections,
    }
    path = root / name
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    return str(path)
