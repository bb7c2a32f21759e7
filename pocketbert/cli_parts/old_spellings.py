"""The command lines of version 0.2 in today's spelling."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from compress.common.escaping import shell_command

RENAMED_COMMANDS = {
    "bench-augment": "bench augmentation",
    "bench-peers": "bench peers",
    "bench-shapes": "bench shapes",
    "bench-training": "bench training",
}
CHECK, LIMITS, EXPLAIN = "--check", "--limits", "--explain"  # flags that 0.3 no longer has
EVERYWHERE = {"", "--", "--debug", "--help"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """An argument, or an option with its value, as typed. `flag`: the name of the option; empty for an argument."""

    words: tuple[str, ...]
    flag: str = ""

    @property
    def value(self) -> str:
        """The value of an option: `--output out`, `--output=out`."""
        return self.words[1] if len(self.words) > 1 else self.words[0].partition("=")[2]

    def renamed(self, old: str, new: str) -> "Part":
        """The same part, with one flag renamed."""
        if self.flag != old:
            return self
        return Part(words=(self.words[0].replace(old, new, 1), *self.words[1:]), flag=new)


@dataclass(frozen=True, kw_only=True)
class NewSpelling:
    """`old`, `new`: both forms in short. `commands`: the complete new command, or two of them."""

    old: str
    new: str
    commands: tuple[Sequence[str], ...]


def new_spelling(arguments: Sequence[str], root: Any) -> str | None:
    """One line with the complete new command if the arguments are of version 0.2; else None.

    `root`: the typer group of all commands.
    """
    position = next((index for index, word in enumerate(arguments) if not word.startswith("-")), None)
    if position is None:
        return None
    before, name, after = arguments[:position], arguments[position], arguments[position + 1 :]
    match name:
        case "bench":
            spelling = _bench(after, root.commands["bench"].commands)
        case "export":
            spelling = _export(after, root.commands)
        case "report":
            spelling = _report(after, root.commands)
        case _ if name in RENAMED_COMMANDS:
            renamed = RENAMED_COMMANDS[name]
            spelling = NewSpelling(old=name, new=renamed, commands=([*renamed.split(), *after],))
        case _:
            return None
    if spelling is None:
        return None
    lines = [shell_command(["pocketbert", *before, *words]) for words in spelling.commands]
    return f"`{spelling.old}` is now `{spelling.new}`: {' && '.join(lines)}"


def _bench(words: Sequence[str], benchmarks: Mapping[str, Any]) -> NewSpelling | None:
    """`bench FOLDER...`, and `bench models` with an old flag. The name of a benchmark is never taken for a folder."""
    if not words or words[0] == "--help":
        return None
    first, is_new = words[0], words[0] == "models"
    if first in benchmarks and not is_new:
        return None
    is_name = re.fullmatch(r"[a-z][a-z_-]*", first) is not None and not Path(first).exists()
    if is_name and not is_new and get_close_matches(first, benchmarks):
        return None  # a misspelled benchmark; any other name is a folder that does not exist
    parts = _split(words[is_new:], _flags_with_value(benchmarks["models"], benchmarks["self-check"]) | {CHECK})
    flags = {part.flag for part in parts}
    if is_new and not flags & {CHECK, LIMITS}:
        return None
    if is_new and "" not in flags and Path(first).is_dir():  # in 0.2 the name of a folder
        parts.insert(0, Part(words=(first,)))
    if CHECK in flags:
        kept = _kept(parts, _flags(benchmarks["self-check"]) | {CHECK})  # the others had no effect
        return NewSpelling(
            old="bench --check",
            new="bench self-check --runs",
            commands=(["bench", "self-check", *_words(part.renamed(CHECK, "--runs") for part in kept)],),
        )
    return NewSpelling(
        old="bench --limits" if is_new else "bench FOLDER",
        new="bench models --roofline" if is_new else "bench models FOLDER",
        commands=(["bench", "models", *_words(part.renamed(LIMITS, "--roofline") for part in parts)],),
    )


def _export(words: Sequence[str], commands: Mapping[str, Any]) -> NewSpelling | None:
    """`export --explain`: of what was exported before, or of a model that it exports first."""
    parts = _split(words, _flags_with_value(commands["export"]))
    flags = {part.flag for part in parts}
    if EXPLAIN not in flags:
        return None
    kept = [part for part in parts if part.flag != EXPLAIN]
    if not flags & {"--data", "--task-data"}:
        return NewSpelling(
            old="export --explain",
            new="explain",
            commands=(["explain", *_words(_kept(kept, _flags(commands["explain"])))],),
        )
    export = ["export", *_words(kept)]
    if "--json" in flags:  # it printed the same document without --explain
        return NewSpelling(old="export --explain --json", new="export --json", commands=(export,))
    model = next((part.words[0] for part in parts if not part.flag), "MODEL")
    output = next((part.value for part in parts if part.flag == "--output"), f"bundles/{Path(model).absolute().name}")
    return NewSpelling(old="export --explain", new="export, then explain", commands=(export, ["explain", output]))


def _report(words: Sequence[str], commands: Mapping[str, Any]) -> NewSpelling | None:
    """`report A B`, and the options of `report` that only `compare` has."""
    parts = _split(words, _flags_with_value(commands["report"], commands["compare"]))
    if sum(not part.flag for part in parts) > 1:
        kept = _kept(parts, _flags(commands["compare"]))  # --open had no effect
        return NewSpelling(old="report A B", new="compare A B", commands=(["compare", *_words(kept)],))
    kept = _kept(parts, _flags(commands["report"]))
    moved = [part.flag for part in parts if part.flag in _flags(commands["compare"]) and part not in kept]
    if not moved:
        return None
    return NewSpelling(old=f"report RUN {moved[0]}", new="report RUN", commands=(["report", *_words(kept)],))


def _split(words: Sequence[str], flags_with_value: Collection[str]) -> list[Part]:
    """Arguments and options in their order."""
    parts: list[Part] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            parts += [Part(words=(word,), flag=word), *(Part(words=(each,)) for each in remaining)]
            break
        flag, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-":
            parts.append(Part(words=(word,)))
        elif flag in flags_with_value and not equals and remaining:
            parts.append(Part(words=(word, remaining.pop(0)), flag=flag))
        else:
            parts.append(Part(words=(word,), flag=flag))
    return parts


def _kept(parts: Sequence[Part], flags: Collection[str]) -> list[Part]:
    return [part for part in parts if part.flag in flags or part.flag in EVERYWHERE]


def _words(parts: Iterable[Part]) -> list[str]:
    return [word for part in parts for word in part.words]


def _flags(command: Any) -> set[str]:
    return {flag for parameter in command.params if parameter.param_type_name == "option" for flag in parameter.opts}


def _flags_with_value(*commands: Any) -> set[str]:
    options = [each for command in commands for each in command.params if each.param_type_name == "option"]
    return {flag for option in options if not option.is_flag for flag in option.opts}
