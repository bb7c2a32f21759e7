"""Recipe keys with a new name. Recipes with the old names still work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str | int, ...]

OLD_NAMES_WORK_IN = "0.3 to 0.6"
RENAMED_KEYS: Mapping[tuple[str, ...], str] = {  # the path of the old key, and its new name in the same section
    ("augment", "variants"): "copies_per_text",
    ("bench", "limits"): "roofline",
    ("training",): "compute",
}


@dataclass(frozen=True, kw_only=True)
class RenamedContent:
    """The content of a recipe under the new names.

    `renamed`: paths of the old keys. `conflicts`: paths of old keys next to their new names; `content` lacks them.
    """

    content: Any
    renamed: Sequence[KeyPath] = ()
    conflicts: Sequence[KeyPath] = ()


def rename_keys(content: Any) -> RenamedContent:
    """Replace the old names in a copy of a recipe's content, because aliases may share its sections."""
    renamed, conflicts = [], []
    for old, name in RENAMED_KEYS.items():
        *sections, key = old
        section = _section_at(content, sections)
        if section is None or key not in section:
            continue
        if name in section:
            conflicts.append(old)
            new_section = {each: value for each, value in section.items() if each != key}
        else:
            renamed.append(old)
            new_section = {name if each == key else each: value for each, value in section.items()}
        content = _with_section(content, sections, new_section)
    return RenamedContent(content=content, renamed=renamed, conflicts=conflicts)


def new_path(path: KeyPath) -> KeyPath:
    """The path under the new names, such as compute.precision for training.precision."""
    for old, name in RENAMED_KEYS.items():
        if path[: len(old)] == old:
            return (*old[:-1], name, *path[len(old) :])
    return path


def old_names_in(section: KeyPath) -> dict[str, str]:
    """The old names of keys in the section at a path, each with its new name."""
    return {old[-1]: name for old, name in RENAMED_KEYS.items() if old[:-1] == section}


def _section_at(content: Any, path: Sequence[str]) -> dict[str, Any] | None:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else None


def _with_section(content: Any, path: Sequence[str], section: dict[str, Any]) -> Any:
    if not path:
        return section
    key, *rest = path
    return {**content, key: _with_section(content[key], rest, section)}
