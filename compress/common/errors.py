"""The exception for user errors, and the conversion of other libraries' exceptions into it."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import ValidationError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, and a file at its largest size

# The settings with which a user can fix a problem. The names are neither recipe keys nor flags.
Option = Literal[
    "activation",
    "attention_heads",
    "checkpoint",
    "copied_layers",
    "corpus_column",
    "data",
    "encoding",
    "heads",
    "initialisation",
    "labels",
    "layer_map",
    "layers",
    "learning_rate",
    "masked_lm",
    "masked_lm_head",
    "metric",
    "micro_batch_size",
    "model",
    "other_files",
    "other_machine",
    "password",
    "positive",
    "precision",
    "signature",
    "splits",
    "stop_words",
    "subset",
    "vectors",
    "vocabulary",
    "vocabulary_size",
]

MAX_REASON = 300  # characters of another library's message


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem with the input, in one line. `option`: the setting with which the user can fix it."""

    text: str
    option: Option | None = None

    def within(self, where: str) -> "Problem":
        """The same problem, prefixed with its location."""
        return replace(self, text=f"{where}: {self.text}")


class UserError(ValueError):
    """Bad input. The message has one line per problem, with the location, the actual and the expected value.

    `option` names the setting that the user can change. The libraries do not know its recipe key or its flag;
    `pocketbert.cli_parts.remedies` adds them. The command line prints the error without a traceback, and exits with
    code 2.

    `problems`: all problems of one check.
    """

    def __init__(self, message: str, *, option: Option | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(text=message, option=option),)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "UserError":
        """One error for several problems. Repeated problems are dropped."""
        unique = tuple(dict.fromkeys(problems))
        error = cls("\n".join(problem.text for problem in unique))
        error.problems = unique
        return error

    def within(self, where: str) -> "UserError":
        """The same error, with every problem prefixed with its location."""
        return type(self).of([problem.within(where) for problem in self.problems])


class NotGoodEnough(UserError):  # noqa: N818  # bad input is an error; this is a verdict
    """The data or a model is not good enough to go on. The command line exits with code 3 instead of 2."""


class Diverged(UserError):  # noqa: N818  # as above
    """A training whose loss became NaN or infinite. The settings around it may still be good."""


def raise_any(problems: Sequence[Problem]) -> None:
    """Raise UserError with all problems, if there are any."""
    if problems:
        raise UserError.of(problems)


@contextmanager
def library_errors(problem: str, *, advice: str = "", option: Option | None = None) -> Iterator[None]:
    """Report every exception of the body as a UserError: `problem`, the reason in parentheses, then `advice`.

    The body holds only the call of a library, which may raise any class. Errors in our own code stay outside, so that
    they are not reported as bad input. UserError, a full disk and too little memory pass unchanged.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        advice = f"; {advice}" if advice else ""
        raise UserError(f"{problem} ({first_line(error)}){advice}", option=option) from error


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, with the next if it ends in a colon; or else the name of its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = " ".join(lines[:2] if lines[0].endswith(":") else lines[:1]) if lines else type(error).__name__
    return reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."


def first_invalid(error: "ValidationError") -> str:
    """The path and the message of the first invalid value of a typed record."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
