"""Runs attacks, a few at a time, each in a process of its own, and collects the verdicts."""

import json
import os
import random
import select
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from signal import SIGKILL

from tests.attack.attack import Attack, Scratch, environment_of
from tests.attack.judge import bugs_of, is_refused, snapshot
from tests.attack.material import Material
from tests.attack.processes import end_with_parent, run_command

LONGEST_S = 900  # of a whole attack; each command has a limit of its own


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of one attack. `bugs`: one line per bug."""

    name: str
    type: str
    is_refused: bool
    bugs: list[str]
    seconds: float


def run_attacks(
    attacks: Sequence[Attack],
    material: Material,
    *,
    folder: Path,
    jobs: int,
    seed: int,
    patience: float,
    keeps: bool,
    on_verdict: Callable[[Verdict], None],
) -> list[Verdict]:
    """Run the attacks, `jobs` at a time, the longest first.

    `patience`: multiplies all time limits. `keeps`: leave the scratch folders in `folder`.
    """
    waiting = sorted(attacks, key=lambda attack: attack.seconds)
    working: dict[int, tuple[Attack, int, float]] = {}  # by descriptor: the attack, its process, its start
    verdicts = []
    while waiting or working:
        while waiting and len(working) < jobs:
            attack = waiting.pop()
            pid = _fork(attack, material, folder / attack.name.replace("/", "-"), seed, patience)
            working[os.pidfd_open(pid)] = attack, pid, time.monotonic()
        ended, _, _ = select.select(list(working), [], [], 5)
        late = [each for each, (_, _, started) in working.items() if time.monotonic() - started > patience * LONGEST_S]
        for descriptor in {*ended, *late}:
            attack, pid, started = working.pop(descriptor)
            os.close(descriptor)
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
            os.waitpid(pid, 0)
            place = folder / attack.name.replace("/", "-")
            verdicts.append(_verdict(attack, place, time.monotonic() - started))
            if not keeps:
                shutil.rmtree(place, ignore_errors=True)
            on_verdict(verdicts[-1])
    return verdicts


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a forked process; returns its process id. Its exit code is 1 if the work raised."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    end_with_parent()
    code = 0
    try:
        work()
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fork(attack: Attack, material: Material, place: Path, seed: int, patience: float) -> int:
    return in_child(lambda: _attack(attack, material, place, seed, patience))


def _attack(attack: Attack, material: Material, place: Path, seed: int, patience: float) -> None:
    """Prepare, run the commands, judge, and write the verdict."""
    started = time.monotonic()
    scratch = Scratch(
        root=place / "root",
        logs=place / "logs",
        material=material,
        random=random.Random(f"{seed} {attack.name}"),
    )
    scratch.root.mkdir(parents=True)
    scratch.logs.mkdir()
    try:
        case = attack.prepare(scratch)
        before = snapshot(scratch.root)
        ended = []
        for number, command in enumerate(case.commands):
            command = replace(command, limit_s=patience * command.limit_s)
            output = scratch.logs / str(number)
            ended.append(run_command(command, folder=scratch.root, environment=environment_of(scratch), output=output))
        bugs = bugs_of(case, ended, scratch, before, snapshot(scratch.root))
        refused = is_refused(ended)
    except Exception as error:
        traceback.print_exc()
        bugs, refused = [f"the attack itself failed: {type(error).__name__}: {error}"], False
    verdict = Verdict(
        name=attack.name, type=attack.type, is_refused=refused, bugs=bugs, seconds=time.monotonic() - started
    )
    (place / "verdict.json").write_text(json.dumps(asdict(verdict)), encoding="utf-8")


def _verdict(attack: Attack, place: Path, seconds: float) -> Verdict:
    with suppress(OSError, ValueError):
        return Verdict(**json.loads((place / "verdict.json").read_text(encoding="utf-8")))
    bug = f"the attack did not end within {LONGEST_S} s" if seconds > LONGEST_S else "the attack's process died"
    return Verdict(name=attack.name, type=attack.type, is_refused=False, bugs=[bug], seconds=seconds)


def rows_of(verdicts: Sequence[Verdict], types: Sequence[str]) -> Iterator[dict[str, str | int]]:
    """A row per type: counts, and seconds of all attacks. An attack with several bugs counts once."""
    for name in types:
        own = [verdict for verdict in verdicts if verdict.type == name]
        if own:
            bugs = sum(bool(verdict.bugs) for verdict in own)
            refused = sum(verdict.is_refused and not verdict.bugs for verdict in own)
            yield {
                "type": name,
                "tried": len(own),
                "refused": refused,
                "harmless": len(own) - bugs - refused,
                "bugs": bugs,
                "seconds": round(sum(verdict.seconds for verdict in own)),
            }
