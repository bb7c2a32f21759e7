"""All commands, the examples on their help pages, and a check that a command line parses."""

import shlex
from collections.abc import Iterator
from typing import Any

import typer

from pocketbert.cli.app import app


def commands() -> dict[str, Any]:
    """Every command by its words, such as `bench models`; the root is ""."""
    return dict(_walk("", typer.main.get_command(app)))


def _walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{words} {name}".strip(), inner)


def examples() -> dict[str, list[str]]:
    """The examples on each command's help page, by the command's words."""
    return {
        words: [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("    ")]
        for words, command in commands().items()
    }


def pocketbert_words(line: str) -> list[list[str]]:
    """The arguments of each call of `pocketbert` in a shell line with pipes, redirections and `&&`."""
    calls, call = [], list[str]()
    for word in [*shlex.split(line, comments=True), ";"]:
        if word not in ("|", "&&", ";", "<", ">"):
            call.append(word)
            continue
        if call and call[0] == "pocketbert":
            calls.append(call[1:])
        call = []
    return calls


def parse(words: list[str]) -> str:
    """The command of an argument list, after its own parser has accepted the rest; typer's error if it does not."""
    known = commands()
    name = ""
    while words and f"{name} {words[0]}".strip() in known:
        name, words = f"{name} {words[0]}".strip(), words[1:]
    command = known[name]
    if "--help" not in words:
        is_group = hasattr(command, "commands") and not (name and command.invoke_without_command)
        assert not is_group or "--version" in words, f"{name!r} is a group: {words}"
        command.make_context(name or "pocketbert", list(words))
    return name
