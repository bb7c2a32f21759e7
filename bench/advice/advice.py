"""A piece of advice: a sentence with its figure, and a change of the recipe to copy."""

from dataclasses import dataclass

from bench.advice import training_trends
from bench.advice.run_figures import RunFigures
from compress.common.escaping import shell_word
from compress.results import TrainingResult


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A sentence with its figure. `changes`: of the recipe, as KEY=VALUE for `--set`."""

    sentence: str
    changes: tuple[str, ...]

    @property
    def options(self) -> str:
        """The changes as options of a command, quoted for a shell."""
        return " ".join(f"--set {shell_word(change)}" for change in self.changes)


def train_longer(figures: RunFigures, section: str, training: TrainingResult) -> tuple[str, ...]:
    """Twice the epochs of a stage of distillation, or twice its steps if their number was the limit."""
    limit = figures.number(f"{section}.max_steps")
    if limit is not None and training.num_steps >= limit:
        return (f"{section}.max_steps={2 * training.num_steps}",)
    return (f"{section}.epochs={2 * training_trends.num_epochs(training)}",)
