"""What the Python interface adds to the commands: checks of its arguments, and messages that name them."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from bench.results.measurements import Effort
from bench.timing.limits import MOST_THREADS
from compress.common.errors import UserError
from pocketbert.cli_parts.remedies import Command, with_remedy

FLAG = re.compile(r"--[a-z][a-z-]*")
OTHER_NAMES = {"--set": "changes", "--threads": "num_threads"}  # of the arguments for two flags of the commands


def path_of(name: str | Path) -> Path:
    """A path, with `~` as the home folder. Raises UserError for anything else."""
    if not isinstance(name, str | Path):
        raise UserError(f"got {name!r:.60}; expected a path")
    return Path(name).expanduser()


def paths_of(names: Any) -> list[Path]:
    """The paths of one or several folders. Raises UserError if there is none."""
    several = [names] if isinstance(names, str | Path) or not hasattr(names, "__iter__") else [*names]
    if not several:
        raise UserError("got no folder; expected the path of a model or a bundle, or several of them")
    return [path_of(each) for each in several]


def overrides_of(changes: Mapping[str, object] | None) -> list[str]:
    """The changes as the command line has them, such as "seed=1". Raises UserError if they are no mapping from keys."""
    if changes is None:
        return []
    if not isinstance(changes, Mapping) or not all(isinstance(key, str) and "=" not in key for key in changes):
        raise UserError(
            f'changes: got {changes!r:.60}; expected keys and values, such as {{"student.preset": "fast3"}}'
        )
    return [f"{key}={json.dumps(value, default=_plain)}" for key, value in changes.items()]


def require_bench_arguments(*, effort: object, num_threads: object, labels: object) -> None:
    """Raise UserError for values that the command line refuses itself."""
    if effort not in get_args(Effort):
        raise UserError(f"effort: got {effort!r:.60}; expected one of {', '.join(get_args(Effort))}")
    is_count = isinstance(num_threads, int) and 1 <= num_threads <= MOST_THREADS
    if num_threads is not None and not is_count:
        raise UserError(f"num_threads: got {num_threads!r:.60}; expected a whole number from 1 to {MOST_THREADS}")
    if isinstance(labels, str):
        raise UserError(f"labels: got the text {labels!r:.60}; expected a list of labels")


@contextmanager
def errors_for(function: Callable[..., object], *, takes_recipe: bool) -> Iterator[None]:
    """Raise the UserErrors of a command for a function: with the remedies that it has, and its arguments for flags."""
    arguments = {f"--{name}": f"`{name}`" for name in inspect.signature(function).parameters}
    arguments |= {flag: f"`{name}`" for flag, name in OTHER_NAMES.items() if f"--{name}" in arguments}
    try:
        yield
    except UserError as error:
        text = with_remedy(error, Command(takes_recipe=takes_recipe, flags=arguments))
        raise type(error)(FLAG.sub(lambda flag: arguments.get(flag[0], flag[0]), text)) from error


def _plain(value: Any) -> Any:
    """A value that JSON has: the content of an array or a set, the text of a path."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
