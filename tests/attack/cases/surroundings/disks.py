"""Full, read-only and limited disks, below the output and below the cache."""

import resource
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Finished, Scratch
from tests.attack.cases.surroundings.small_disks import is_mounting_possible, mount, remount

TYPE = "disk and cache"
KILOBYTES = {"run": (50, 500, 2000), "export": (50, 150, 2000), "curves": (4, 8), "new": (4,)}
WRITERS: dict[str, Callable[[Scratch], Sequence[str | Path]]] = {  # commands that write into `small`
    "run": lambda scratch: ["run", scratch.material.recipe, "--output", "small/run", "--until", "prediction"],
    "export": lambda scratch: [
        "export", scratch.material.models / "teacher", "--data", scratch.material.reviews, "--variant", "fp32",
        "--output", "small/out",
    ],
    "curves": lambda scratch: [
        "curves", scratch.material.run, scratch.material.run, "--stage", "teacher", "--output", "small/out",
    ],
    "new": lambda scratch: ["new", scratch.material.reviews, "--output", "small/new.yaml"],
}  # fmt: skip


def attacks(seed: int) -> list[Attack]:
    """Small disks need root; limits of the file size do not."""
    limited = [_limited(name) for name in WRITERS]
    if not is_mounting_possible():
        return limited
    return [
        *limited,
        *[_full(name, size) for name, sizes in KILOBYTES.items() for size in sizes],
        *[_full_cache(size) for size in KILOBYTES["run"]],
        *[_read_only(name) for name in WRITERS],
        _sealed_bundle(),
    ]


def _attack(name: str, prepare: Callable[[Scratch], Case], seconds: float) -> Attack:
    return Attack(name=f"disk/{name}", type=TYPE, prepare=prepare, seconds=seconds)


def _full(name: str, kilobytes: int) -> Attack:
    """The disk of the output fills up; with more space, the same command must succeed."""

    def prepare(scratch: Scratch) -> Case:
        disk = mount(scratch.root / "small", kilobytes)
        first = Command(words=WRITERS[name](scratch))
        again = Command(words=first.words, in_child=partial(remount, disk))
        return Case(
            commands=[first, again],
            owned=["cache", "small"] if name == "run" else ["cache"],
            check=lambda ended: [*_blames(ended[0], "small"), *_not_repeated(ended)],
        )

    return _attack(f"full disk/{name}/{kilobytes} kB", prepare, 15 if name == "run" else 5)


def _blames(ended: Finished, name: str) -> list[str]:
    """A full disk must be named."""
    if ended.code != 2 or name.encode() in ended.stderr.splitlines()[-1]:
        return []
    return [f"the message does not name the full disk: {ended.stderr[-200:]!a}"]


def _not_repeated(ended: Sequence[Finished]) -> list[str]:
    """With more space, the command that was refused must succeed."""
    first, again = ended
    return [f"refused again: {again.stderr[-200:]!a}"] if first.code != 0 and again.code != 0 else []


def _full_cache(kilobytes: int) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        disk = mount(scratch.root / "small", kilobytes)
        words = ["run", scratch.material.recipe, "--output", "run", "--until", "teacher"]
        environment = {"POCKETBERT_CACHE": str(disk)}
        first = Command(words=words, environment=environment)
        again = Command(words=words, environment=environment, in_child=partial(remount, disk))
        return Case(
            commands=[first, again],
            owned=["run", "small"],
            check=lambda ended: [*_blames(ended[0], "small"), *_not_repeated(ended)],
        )

    return _attack(f"full cache/{kilobytes} kB", prepare, 15)


def _read_only(name: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        disk = mount(scratch.root / "small", 1000)
        remount(disk, "ro")
        command = Command(words=WRITERS[name](scratch))
        return Case(commands=[command], must_refuse=True)

    return _attack(f"read-only/{name}", prepare, 5)


def _sealed_bundle() -> Attack:
    """A bundle on a read-only disk works."""

    def prepare(scratch: Scratch) -> Case:
        disk = mount(scratch.root / "small", 10_000)
        bundle = scratch.copy(scratch.material.bundle("fp32"), "small/bundle")
        remount(disk, "ro")
        answers = scratch.material.answers("fp32")
        predict = Command(
            script=bundle / "predict.py",
            stdin=scratch.material.lines("fp32"),
            expected_stdout=answers,
            is_new_interpreter=True,
        )
        commands = [Command(words=["verify", bundle]), predict]
        return Case(commands=commands, must_succeed=True)

    return _attack("read-only/bundle", prepare, 2)


def _limited(name: str) -> Attack:
    """No file may grow beyond 20 kB."""

    def prepare(scratch: Scratch) -> Case:
        (scratch.root / "small").mkdir()
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
        return Case(commands=[Command(words=WRITERS[name](scratch), in_child=limit)], owned=["cache", "small"])

    return _attack(f"file size/{name}", prepare, 6)
