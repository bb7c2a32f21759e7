"""The one exception for mistakes of the user's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import ValidationError

# What a user can set to get rid of a problem, under names that belong to no recipe and no command line.
Option = Literal[
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
    "other_machine",
    "precision",
    "splits",
    "stop_words",
    "subset",
    "vectors",
    "vocabulary",
    "vocabulary_size",
]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, in one line: what, got and expected. `option`: what the user can set about it."""

    text: str
    option: Option | None = None

    def within(self, where: str) -> "Problem":
        """The same problem, with the place that it concerns named first."""
        return replace(self, text=f"{where}: {self.text}")


class UserError(ValueError):
    """Bad input: the problem in one line, with what, where, got and expected.

    `option` names the setting that the user can change. The libraries do not know its recipe key or its flag;
    `pocketbert.cli.remedies` adds them. The command line prints the error without a traceback and exits with code 2.
    `problems`: all problems of one check, one per line.
    """

    def __init__(self, message: str, *, option: Option | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(text=message, option=option),)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "UserError":
        """All problems at once, each of them once."""
        each = tuple(dict.fromkeys(problems))
        error = cls("\n".join(problem.text for problem in each))
        error.problems = each
        return error

    def within(self, where: str) -> "UserError":
        """The same error, with the place that it concerns named first in every line."""
        return UserError.of([problem.within(where) for problem in self.problems])


def raise_any(problems: Sequence[Problem]) -> None:
    """Raise UserError with all of them, or return where there are none."""
    if problems:
        raise UserError.of(problems)


def first_invalid(error: "ValidationError") -> str:
    """The first value that does not fit a typed record: where it stands, and what is wrong with it."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
