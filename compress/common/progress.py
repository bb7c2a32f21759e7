"""Progress output: a bar with the remaining time, or a line every few seconds if the output is not a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from compress.common.escaping import one_line

PLAIN_LINE_EVERY_S = 15.0
REFRESH_EVERY_S = 0.2


class ProgressBar:
    """The progress of a task. Use it as a context manager."""

    def __init__(self, title: str, console: Console) -> None:
        self.title = one_line(title)
        self.console = console
        self._bar = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not console.is_terminal,
            auto_refresh=False,  # no extra thread, which could disturb a measurement
        )
        self._task = self._bar.add_task(self.title, total=None, note="")
        self._started: tuple[float, int] | None = None
        self._last_line_s = self._last_refresh_s = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` steps are done. `note` appears after the remaining time.

        The remaining time is estimated from the speed since the first call.
        """
        now, note = time.monotonic(), one_line(note)
        refresh = now - self._last_refresh_s > REFRESH_EVERY_S or done == total
        self._bar.update(self._task, completed=done, total=total, note=note, refresh=refresh)
        self._last_refresh_s = now if refresh else self._last_refresh_s
        if self._started is None:
            self._started = (now, done)
        started_s, first_done = self._started
        if self.console.is_terminal or now - self._last_line_s < PLAIN_LINE_EVERY_S or done == first_done:
            return
        self._last_line_s = now
        left_s = (now - started_s) / (done - first_done) * (total - done)
        self.console.print(f"  {self.title}: {done}/{total}, {left_s:.0f} s left {note}".rstrip(), soft_wrap=True)


@contextmanager
def progress_bar(title: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar. The context value is a function to call with (done, total)."""
    with ProgressBar(title, console) as bar:
        yield bar.update
