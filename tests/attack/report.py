"""What the suite prints: progress with the time left, and the table."""

import sys
import time
from collections.abc import Mapping, Sequence

from tests.attack.attack import Attack
from tests.attack.runner import Verdict

EVERY_S = 10


class Progress:
    """Prints a line every ten seconds, and a line for each bug."""

    def __init__(self, attacks: Sequence[Attack], *, jobs: int) -> None:
        self._seconds_of = {attack.name: attack.seconds for attack in attacks}
        self._left = sum(self._seconds_of.values())
        self._jobs = jobs
        self._num_done = self._num_bugs = 0
        self._expected = self._actual = 0.0
        self._last = time.monotonic()

    def say(self, words: str) -> None:
        """Print a line."""
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()

    def count(self, verdict: Verdict) -> None:
        """Count a verdict. The time left follows the durations so far, compared with those that attacks state."""
        expected = self._seconds_of[verdict.name]
        self._left -= expected
        self._expected += expected
        self._actual += verdict.seconds
        self._num_done += 1
        self._num_bugs += bool(verdict.bugs)
        for bug in verdict.bugs:
            self.say(f"bug: {verdict.name}: {bug}")
        if time.monotonic() - self._last > EVERY_S:
            self._last = time.monotonic()
            left = self._left * self._actual / self._expected / self._jobs
            self.say(f"{self._num_done} of {len(self._seconds_of)}, {self._num_bugs} bugs, {_duration(left)} left")


def print_table(rows: Sequence[Mapping[str, str | int]], verdicts: Sequence[Verdict], seconds: float) -> None:
    """Print a row per type, the sum, and how to repeat each attack that found a bug."""
    names = ("tried", "refused", "harmless", "bugs", "seconds")
    total = {"type": "all", **{name: sum(int(row[name]) for row in rows) for name in names}}
    lines = [f"{'':<32}" + "".join(f"{name:>10}" for name in names)]
    lines += [f"{row['type']:<32}" + "".join(f"{row[name]:>10}" for name in names) for row in [*rows, total]]
    for verdict in verdicts:
        lines += [f"bug: {verdict.name}: {bug}" for bug in verdict.bugs]
    repeated = [verdict.name for verdict in verdicts if verdict.bugs]
    lines += [f"repeat: make attack ONLY='{name}'" for name in repeated]
    lines.append(f"{total['bugs']} bugs in {total['tried']} attacks, {_duration(seconds)}")
    sys.stdout.write("\n".join(lines) + "\n")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
