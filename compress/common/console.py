"""Consoles for text from outside: no markup, no emoji codes, and no control characters in anything that is printed."""

import io
import logging
import sys
import traceback
import warnings
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.errors import MarkupError
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from compress.common.escaping import one_line, terminal


def new_console(*, stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """A console that prints strings as they are, with control characters escaped. For style, print a `Text`."""
    console = Console(stderr=stderr, quiet=quiet, width=width, markup=False, emoji=False, highlight=False)
    console.push_render_hook(_EscapeControlCharacters())
    return console


def notice(word: str, style: str, message: str) -> Text:
    """A line with a coloured first word, such as `warning: the message`."""
    return Text.assemble((word, style), " ", one_line(message))


def remark(message: str) -> Text:
    """An indented grey line."""
    return Text(f"  {one_line(message)}", style="dim")


def in_markup(text: str) -> str:
    """Text from outside for a string with rich's markup."""
    return escape(one_line(text))


def of_markup(message: str) -> Text:
    """A string with rich's markup. A string with an error in its markup is printed as it is."""
    try:
        return Text.from_markup(message, emoji=False)
    except MarkupError:
        return Text(message)


def escape_other_output() -> None:
    """Escape control characters in what this process prints without a console: tracebacks, warnings, log messages.

    Characters that the encoding of the terminal lacks are escaped too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    format_warning = warnings.formatwarning
    warnings.formatwarning = lambda *parts, **named: terminal(format_warning(*parts, **named))
    sys.excepthook = _print_traceback
    logging.setLogRecordFactory(_LogRecord)


class _LogRecord(logging.LogRecord):
    """A log message with control characters escaped."""

    def getMessage(self) -> str:  # noqa: N802  # the name is logging's
        return terminal(super().getMessage())


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(terminal("".join(traceback.format_exception(kind, error, trace))))


class _EscapeControlCharacters(RenderHook):
    """Escapes everything that a console prints. Text that was escaped before stays the same."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(each) for each in renderables]


class _Escaped:
    """A renderable with control characters escaped, except those of the console itself."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _escaped(console.render(self.renderable, options))


def _escaped(segments: Iterable[Segment]) -> Iterable[Segment]:
    for segment in segments:
        yield segment if segment.control else Segment(terminal(segment.text), segment.style)
