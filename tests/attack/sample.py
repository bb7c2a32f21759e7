"""The short part of the suite: a few attacks of every type."""

import random
from collections import defaultdict
from collections.abc import Sequence

from tests.attack.attack import Attack


def short(attacks: Sequence[Attack], *, seconds: float, seed: int) -> list[Attack]:
    """A seeded sample with equal time for every type, by the durations that attacks state. At least one of each."""
    by_type: dict[str, list[Attack]] = defaultdict(list)
    for attack in attacks:
        by_type[attack.type].append(attack)
    chosen: list[Attack] = []
    for name, own in by_type.items():
        left = seconds / len(by_type)
        for attack in sorted(random.Random(f"{seed} {name}").sample(own, len(own)), key=lambda each: each.seconds > 5):
            if attack.seconds > left and any(each.type == name for each in chosen):
                break
            chosen.append(attack)
            left -= attack.seconds
    return chosen
