"""The levels of effort of a benchmark: how much each measures, and what it leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from bench.results.measurements import Effort, Protocol
from bench.timing.systems import GRID_BATCH_LENGTH, GRID_LENGTHS, Shape


@dataclass(frozen=True, kw_only=True)
class EffortSettings:
    """The settings of a benchmark that its effort decides.

    `rounds` to `restart_every`: as in `Protocol`. `compiled_teacher`: also time the teacher under torch.compile.
    `roofline`: measure the machine's roofline, and profile the bundles. `fixed_lengths`: token counts of the grid at
    batch size 1. `fixed_batches`: batch sizes of the grid.
    """

    rounds: int
    texts_per_round: int
    warm_up_s: float
    restart_every: int
    compiled_teacher: bool
    roofline: bool
    fixed_lengths: Sequence[int]
    fixed_batches: Sequence[int]

    def protocol(self, effort: Effort | None, *, num_threads: int, seed: int = 0) -> Protocol:
        """The protocol with these settings."""
        return Protocol(
            effort=effort,
            num_threads=num_threads,
            rounds=self.rounds,
            texts_per_round=self.texts_per_round,
            warm_up_s=self.warm_up_s,
            restart_every=self.restart_every,
            seed=seed,
        )

    def grid(self, max_length: int) -> list[Shape]:
        """The shapes of the grid, for a model that takes `max_length` tokens."""
        lengths = [length for length in self.fixed_lengths if length <= max_length]
        batches = [(size, min(GRID_BATCH_LENGTH, max(lengths, default=max_length))) for size in self.fixed_batches]
        return list(dict.fromkeys([*((1, length) for length in lengths), *batches]))


def settings_of(effort: Effort) -> EffortSettings:
    """The settings of a level of effort.

    Every level restarts each model at least twice, because an interval over processes needs several processes. Every
    level has the A/A control, and scores all rows.
    """
    match effort:
        case "quick":
            return EffortSettings(
                rounds=3,
                texts_per_round=20,
                warm_up_s=2.0,
                restart_every=1,
                compiled_teacher=False,
                roofline=False,
                fixed_lengths=(),
                fixed_batches=(),
            )
        case "standard":
            return EffortSettings(
                rounds=10,
                texts_per_round=30,
                warm_up_s=5.0,
                restart_every=2,
                compiled_teacher=False,
                roofline=False,
                fixed_lengths=(16, 64, 128),
                fixed_batches=(16,),
            )
        case "thorough":
            return EffortSettings(
                rounds=12,
                texts_per_round=30,
                warm_up_s=5.0,
                restart_every=2,
                compiled_teacher=True,
                roofline=True,
                fixed_lengths=GRID_LENGTHS,
                fixed_batches=(16,),
            )
    assert_never(effort)
