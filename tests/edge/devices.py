"""Machines without network: bare Debian systems of any architecture, in namespaces of their own."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pocketbert.edge.wheels import Target
from tests.interop.emulated_consumers import QEMU
from tests.interop.environments import DebianPackages, UnavailableError, folder_of

ENTER = Path(__file__).with_name("enter.sh")
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--net")
CLEAN = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}  # the locale is C
BARE = ("base-files", "busybox", "coreutils", "dash", "libstdc++6")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine. `python`: the version of its only Python, which is without pip and venv.

    `processor`: the model that qemu emulates; None for the processor of this machine. `like`: where it is built in.
    """

    name: str
    target: Target
    suite: str
    python: str
    processor: str | None = None
    like: str = ""

    @property
    def system(self) -> DebianPackages:
        """The packages of the machine."""
        architecture = {"aarch64": "arm64", "x86_64": "amd64"}[self.target]
        return DebianPackages(
            name=f"edge-{architecture}-{self.suite}",
            packages=(*BARE, f"python{self.python}"),
            architecture=architecture,
            suite=self.suite,
            with_dependencies=True,
        )


DEVICES = (
    Device(name="x86_64", target="x86_64", suite="trixie", python="3.13"),
    Device(
        name="cortex-a72",
        target="aarch64",
        suite="bookworm",
        python="3.11",
        processor="cortex-a72",
        like="Raspberry Pi 4",
    ),
    Device(
        name="cortex-a76",
        target="aarch64",
        suite="bookworm",
        python="3.11",
        processor="cortex-a76",
        like="Raspberry Pi 5",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended on a device. `peak_rss_bytes`: of the emulator too, if there is one."""

    returncode: int
    output: str
    seconds: float
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device that can run commands. `folder` is /place on it."""

    device: Device
    root: Path
    folder: Path
    emulator: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(CLEAN))

    def run(self, *command: str) -> Ended:
        """Run a command, and measure it."""
        words = [*NAMESPACES, "sh", str(ENTER), str(self.root), str(self.folder), self.emulator, *command]
        started = time.monotonic()
        with (self.folder / "output.txt").open("w+b") as output:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(self.environment)
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        return Ended(returncode=process.returncode, output=text, seconds=seconds, peak_rss_bytes=usage.ru_maxrss * 1024)


def start(device: Device, environments: Path, folder: Path) -> Machine:
    """The device with an empty /place. Raises UnavailableError if this machine cannot provide it."""
    root = folder_of(device.system, environments)
    emulator = ""
    environment = dict(CLEAN)
    if device.processor is not None:
        emulator = str((folder_of(QEMU, environments) / "usr" / "bin" / "qemu-aarch64").absolute())
        environment["QEMU_CPU"] = device.processor
    for name in ("proc", "sys", "dev", "place", "tmp"):
        (root / name).mkdir(exist_ok=True)
    if not (root / "bin" / "sh").exists():
        raise UnavailableError(f"{root}: has no shell")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Machine(
        device=device, root=root.absolute(), folder=folder.absolute(), emulator=emulator, environment=environment
    )
