"""An attack: a scratch folder, the commands that run in it, and what must hold afterwards."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pocketbert
from tests.attack.material import Material

SUCCESS, REFUSED, NOT_GOOD_ENOUGH, INTERRUPTED = 0, 2, 3, 130
EXPECTED_CODES = frozenset({SUCCESS, REFUSED, NOT_GOOD_ENOUGH})
HARM = "HARM"  # environment variable with the file that planted code creates
ODD_VALUES: tuple[Any, ...] = (None, True, -1, 0, 10**30, 1e400, float("nan"), "", "text", "\x1b[31mred")  # for any key
PLANTED_CODE = f"import os\nopen(os.environ[{HARM!r}], 'w').close()\n"


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """The folders of one attack. `root` holds what the commands see; the judge hashes it. `logs` holds their output."""

    root: Path
    logs: Path
    material: Material
    random: random.Random

    @property
    def harm(self) -> Path:
        """The file that exists if planted code ran."""
        return self.logs / "harm"

    def copy(self, source: Path, name: str | None = None) -> Path:
        """Copy a file or folder of the material into `root`."""
        target = self.root / (name or source.name)
        self.material.copy(source, target)
        return target

    def copy_run(self, name: str = "run") -> Path:
        """Copy the finished run into `root/name`, and its cache into `root/cache`."""
        run = self.copy(self.material.run, name)
        cache = self.copy(self.material.run_cache, "cache")
        for path in run.iterdir():
            if path.is_symlink():  # a stage in the cache
                target = path.readlink()
                path.unlink()
                path.symlink_to(cache / target.relative_to(self.material.run_cache))
        return run


@dataclass(frozen=True, kw_only=True)
class Running:
    """A command at work. `stderr`: the file that it writes."""

    pid: int
    stderr: Path


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended. `code`: its exit code, or minus the signal. `peak_bytes`: of resident memory."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    peak_bytes: int
    is_over_time: bool

    @property
    def is_refused(self) -> bool:
        """Whether the command refused its input, or its input was not good enough."""
        return self.code in (REFUSED, NOT_GOOD_ENOUGH)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One call. It runs in a process that was forked from one with all libraries loaded.

    `words`: the arguments. `script`: the Python file to run; None: the command line `pocketbert`. `is_new_interpreter`:
    start Python anew instead, as a shell does. `program`: another program; it then runs instead of Python. `stdin`: its
    standard input; None: closed. `codes`: the exit codes that are no bug. `expected_stdout`: the output that must
    follow exit code 0. `in_child`: called in the process before the command, for limits and faults. `during`: called
    while the command runs, to send a signal.
    """

    words: Sequence[str | Path] = ()
    script: Path | None = None
    program: str | None = None
    is_new_interpreter: bool = False
    stdin: bytes | None = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    limit_s: float = 60
    codes: frozenset[int] = EXPECTED_CODES
    expected_stdout: bytes | None = None
    in_child: Callable[[], None] | None = None
    during: Callable[[Running], None] | None = None

    def line(self) -> str:
        """The command in one line, for messages."""
        name = self.program or (self.script.name if self.script else "pocketbert")
        return " ".join(" ".join([Path(name).name, *map(str, self.words)]).split())[:80]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prepared attack.

    `must_refuse`: at least one command must refuse. `must_succeed`: the last command must end with exit code 0.
    `owned`: paths in the scratch folder that commands may change; all other files must stay as they are.
    `writes_nothing`: a refused command leaves no new file. `check`: further conditions, as lines that describe bugs.
    """

    commands: Sequence[Command]
    must_refuse: bool = False
    must_succeed: bool = False
    owned: Sequence[str] = ("cache",)
    writes_nothing: bool = False
    check: Callable[[Sequence[Finished]], list[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Attack:
    """`name`: unique; `make attack ONLY=name` repeats it. `type`: its row in the table. `seconds`: a rough duration."""

    name: str
    type: str
    prepare: Callable[[Scratch], Case]
    seconds: float = 1.0


def environment_of(scratch: Scratch) -> dict[str, str]:
    """The environment of the commands: offline, one thread, a cache of its own."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **inherited,
        "COLUMNS": "200",
        "HARM": str(scratch.harm),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "POCKETBERT_CACHE": str(scratch.root / "cache"),
        "PYTHONPATH": str(Path(pocketbert.__file__).parents[1]),
        "TOKENIZERS_PARALLELISM": "false",
    }
