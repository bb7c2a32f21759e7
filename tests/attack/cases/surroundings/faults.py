"""Faults of the clock, of streams and of the environment, and signals, while commands work."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.attack.attack import INTERRUPTED, Attack, Case, Command, Finished, Running, Scratch
from tests.attack.cases.runs.kills import differences, kill_after

TYPE = "clock, signals, streams"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIGNAL_CODES = {number: frozenset({0, 2, INTERRUPTED, 128 + number, -number}) for number in SIGNALS}
PRINTERS: dict[str, Callable[[Scratch], Command]] = {  # commands that print, and write nothing
    "predict": lambda scratch: Command(
        words=["predict", scratch.material.bundle("fp32")], stdin=scratch.material.lines("fp32") * 50
    ),
    "predict.py": lambda scratch: Command(
        script=scratch.material.bundle("fp32") / "predict.py", stdin=scratch.material.lines("fp32") * 50
    ),
    "verify": lambda scratch: Command(words=["verify", scratch.material.bundle("fp32")]),
    "explain": lambda scratch: Command(words=["explain", scratch.material.run]),
    "recipes": lambda _: Command(words=["recipes"]),
    "schema": lambda _: Command(words=["schema"]),
    "doctor": lambda _: Command(words=["doctor"]),
    "help": lambda _: Command(words=["--help"]),
    "check": lambda scratch: Command(words=["check", scratch.material.recipe]),
}


def attacks(seed: int) -> list[Attack]:
    """Signals, streams, clocks and environments."""
    return [
        *[_interrupted(stage, number) for stage in ("teacher", "prediction") for number in SIGNALS],
        *[_early(name, number) for name in ("pocketbert", "predict.py") for number in SIGNALS],
        *[_stream(fault, name) for fault in STREAMS for name in PRINTERS],
        *[_clock(name) for name in CLOCKS],
        *[_environment(name) for name in ENVIRONMENTS],
        _old_files(),
        _two_runs(),
        _shadowed(),
    ]


def _attack(name: str, prepare: Callable[[Scratch], Case], seconds: float) -> Attack:
    return Attack(name=f"fault/{name}", type=TYPE, prepare=prepare, seconds=seconds)


def _interrupted(stage: str, number: signal.Signals) -> Attack:
    """A run gets a signal. It says so, and the same command continues to the same weights."""

    def prepare(scratch: Scratch) -> Case:
        run = ["run", scratch.material.recipe, "--output", "run", "--until", "prediction"]
        during = kill_after(stage, 1.0, number=number)
        commands = [
            Command(words=run, limit_s=300, codes=SIGNAL_CODES[number], during=during),
            Command(words=run, limit_s=300),
        ]

        def check(ended: Sequence[Finished]) -> list[str]:
            lines = differences(scratch.material.run, scratch.root / "run", [])
            bugs = [line for line in lines if not line.startswith(("export/", "bundles/"))]
            if ended[0].code != 0 and not re.search(rb"interrupted|stopped", ended[0].stderr):
                bugs.append(f"no message about the signal: {ended[0].stderr[-100:]!a}")
            return bugs

        return Case(commands=commands, must_succeed=True, check=check)

    return _attack(f"signal/{stage}/{number.name}", prepare, 30)


def _early(name: str, number: signal.Signals) -> Attack:
    """A signal arrives while Python still loads our modules."""

    def prepare(scratch: Scratch) -> Case:
        bundle = scratch.material.bundle("fp32")
        started = {"pocketbert": Command(words=["verify", bundle]), "predict.py": Command(script=bundle / "predict.py")}
        command = Command(
            words=started[name].words,
            script=started[name].script,
            stdin=scratch.material.lines("fp32") * 1000,
            is_new_interpreter=True,
            codes=SIGNAL_CODES[number],
            during=partial(_when_loading, number),
        )
        return Case(commands=[command])

    return _attack(f"early signal/{name}/{number.name}", prepare, 2)


def _when_loading(number: signal.Signals, running: Running) -> None:
    """Send the signal once the new interpreter has mapped the first library of a package."""
    process, old = Path(f"/proc/{running.pid}"), Path("/proc/self/cmdline").read_bytes()
    while (process / "cmdline").read_bytes() == old or "site-packages" not in (process / "maps").read_text():
        if os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)
    os.kill(running.pid, number)


def _full_device() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


STREAMS: dict[str, Callable[[], None]] = {
    "full output": _full_device,
    "broken pipe": _closed_pipe,
    "closed output": lambda: os.close(1),
    "closed errors": lambda: os.close(2),
    "closed input": lambda: os.close(0),
    "16 open files": _few_files,
}


def _stream(fault: str, name: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        sound = PRINTERS[name](scratch)
        command = Command(
            words=sound.words,
            script=sound.script,
            stdin=sound.stdin,
            is_new_interpreter=True,
            in_child=STREAMS[fault],
            codes=frozenset({0, 2, 3, 141, -signal.SIGPIPE} if fault == "broken pipe" else {0, 2, 3}),
        )
        return Case(commands=[command])

    return _attack(f"stream/{fault}/{name}", prepare, 10 if name == "check" else 2)


def _set_clock(now: Callable[[int], float]) -> None:
    """Replace the clock of this process. `now`: the time at the n-th look at it."""
    looks = iter(range(10**9))
    time.time = lambda: now(next(looks))


CLOCKS: dict[str, Callable[[int], float]] = {
    "stands still": lambda _: 1.7e9,
    "runs backwards": lambda look: 1.7e9 - 60.0 * look,
    "is in 1970": lambda look: 1e-3 * look,
    "is in 2100": lambda look: 4.1e9 + 1e-3 * look,
    "jumps": lambda look: 1.7e9 + 1e6 * (-1) ** look,
}


def _clock(name: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        words = ["run", scratch.material.recipe, "--output", "run", "--until", "prediction"]
        command = Command(words=words, limit_s=300, in_child=partial(_set_clock, CLOCKS[name]))

        def check(_: Sequence[Finished]) -> list[str]:
            lines = differences(scratch.material.run, scratch.root / "run", [])
            return [line for line in lines if not line.startswith(("export/", "bundles/"))]

        return Case(commands=[command], must_succeed=True, check=check)

    return _attack(f"clock/{name}", prepare, 25)


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "cache is a file": {"POCKETBERT_CACHE": "{file}"},
    "cache is a link to nothing": {"POCKETBERT_CACHE": "{link}"},
    "cache is relative": {"POCKETBERT_CACHE": "some/cache"},
    "cache under a file": {"POCKETBERT_CACHE": "{file}/cache"},
    "no home": {"HOME": "/nonexistent", "POCKETBERT_CACHE": ""},
    "temporary folder missing": {"TMPDIR": "/nonexistent"},
    "columns": {"COLUMNS": "x", "LINES": "-1"},
    "one column": {"COLUMNS": "1"},
    "plain C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "colours": {"NO_COLOR": "1", "TERM": "dumb"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
    "time zone": {"TZ": "No/Such:Zone"},
}


def _environment(name: str) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        (scratch.root / "file").write_text("the user's", encoding="utf-8")
        (scratch.root / "link").symlink_to("nothing")
        places = {"file": scratch.root / "file", "link": scratch.root / "link"}
        values = {key: value.format(**places) for key, value in ENVIRONMENTS[name].items()}
        words = ["run", scratch.material.recipe, "--output", "run", "--until", "teacher"]
        new = ["new", scratch.material.reviews, "--output", "r.yaml"]
        predict = ["predict", scratch.material.bundle("fp32"), "é"]
        commands = [
            Command(words=words, environment=values, is_new_interpreter=True) for words in (new, predict, words)
        ]
        return Case(commands=commands, owned=["cache"])

    return _attack(f"environment/{name}", prepare, 12)


def _old_files() -> Attack:
    """All files of a finished run have times long ago, or in the future: nothing must be done again."""

    def prepare(scratch: Scratch) -> Case:
        run = scratch.copy_run()
        for number, path in enumerate(sorted(run.rglob("*"))):
            os.utime(path, ns=(0, (number % 2) * 4 * 10**18), follow_symlinks=False)
        command = Command(words=["run", scratch.material.recipe, "--output", "run"])

        def check(ended: Sequence[Finished]) -> list[str]:
            again = [] if b"Nothing to do" in ended[0].stderr + ended[0].stdout else ["a finished stage was done again"]
            return [*again, *differences(scratch.material.run, run, [])]

        return Case(commands=[command], must_succeed=True, owned=["cache", "run"], check=check)

    return _attack("clock/old files", prepare, 5)


def _two_runs() -> Attack:
    """A second run in the same folder is refused, and the first is not disturbed."""

    def prepare(scratch: Scratch) -> Case:
        words = ["run", scratch.material.recipe, "--output", "run", "--until", "prediction"]
        second = scratch.logs / "second"

        def during(running: Running) -> None:
            kill_after("prediction", 0, number=signal.SIGCONT)(running)  # changes nothing
            environment = {**os.environ, "POCKETBERT_CACHE": str(scratch.root / "cache")}
            call = [sys.executable, "-m", "pocketbert", *map(str, words)]
            done = subprocess.run(call, cwd=scratch.root, env=environment, capture_output=True, check=False)
            second.write_bytes(f"{done.returncode}\n".encode() + done.stderr)

        def check(_: Sequence[Finished]) -> list[str]:
            code, _, printed = second.read_bytes().partition(b"\n")
            wrong = [f"the second run ended with {code!a}: {printed[-200:]!a}"] if code not in (b"0", b"2") else []
            lines = differences(scratch.material.run, scratch.root / "run", [])
            return [*wrong, *[line for line in lines if not line.startswith(("export/", "bundles/"))]]

        return Case(commands=[Command(words=words, limit_s=300, during=during)], must_succeed=True, check=check)

    return _attack("two runs", prepare, 30)


def _shadowed() -> Attack:
    """The user's folders have the names of our packages and of libraries."""

    def prepare(scratch: Scratch) -> Case:
        for name in ("bench", "export", "compress", "numpy", "torch", "yaml"):
            (scratch.root / name).mkdir()
            (scratch.root / name / "mine.txt").write_text("the user's", encoding="utf-8")
        commands = [
            Command(words=["verify", scratch.material.bundle("fp32")], is_new_interpreter=True),
            Command(words=["predict", scratch.material.bundle("fp32"), "a film"], is_new_interpreter=True),
        ]
        return Case(commands=commands)

    return _attack("user's folders of our names", prepare, 4)
