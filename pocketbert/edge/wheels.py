"""The wheels of the libraries that predict.py needs, for another machine. pip chooses, downloads and caches them."""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from compress.common.console import remark
from compress.common.errors import UserError

Target = Literal["aarch64", "x86_64"]
TARGETS: tuple[Target, ...] = ("aarch64", "x86_64")
# predict.py imports nothing else. The other packages that onnxruntime and tokenizers declare are for tools and hubs.
PACKAGES = ("numpy", "onnxruntime", "tokenizers")
GLIBC_2_MINORS = range(28, 16, -1)  # of the wheels that are tried; pip takes a tag literally, not older ones with it
LEGACY_TAGS = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}
PROGRESS = ("Collecting ", "Downloading ", "Using cached ", "Processing ")
UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "SSLError")
A_VERSION = re.compile(r"\d+(\.\d+)*")
A_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-[^-]+)?-[^-]+-[^-]+-(?P<platform>[^-]+)\.whl")


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A downloaded wheel. `glibc`: the oldest version that its tags name, (0, 0) if none does."""

    path: Path
    package: str
    version: str
    glibc: tuple[int, int]


def requirements_of(requires: Mapping[str, str]) -> list[str]:
    """The requirements for pip. `requires`: the oldest versions that a bundle works with. Raises UserError."""
    lines = []
    for package in PACKAGES:
        oldest = requires.get(package)
        if oldest is not None and A_VERSION.fullmatch(oldest) is None:
            raise UserError(f"bundle.json: requires.{package}: got {oldest!r:.60}; expected a version such as 1.16")
        lines.append(package if oldest is None else f"{package}>={oldest}")
    return lines


def download_wheels(
    folder: Path, requirements: list[str], *, target: Target, python: str, console: Console
) -> list[Wheel]:
    """Download one wheel per package of PACKAGES into an empty folder, in the order of PACKAGES.

    `python`: a version such as 3.11. pip's settings apply: its configuration, PIP_INDEX_URL, PIP_FIND_LINKS,
    PIP_CONSTRAINT and the like. Raises UserError if pip finds none or cannot run.
    """
    platforms = [f"linux_{target}"]  # of a build of one's own; indexes have none
    platforms += [f"manylinux_2_{minor}_{target}" for minor in GLIBC_2_MINORS] + [f"manylinux2014_{target}"]
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"),
        *("--no-input", "--disable-pip-version-check", "--dest", str(folder)),
        *("--implementation", "cp", "--python-version", python, "--abi", f"cp{python.replace('.', '')}"),
        *(part for platform in platforms for part in ("--platform", platform)),
        *requirements,
    ]
    lines = _run_pip(command, console)
    if lines is not None:
        raise UserError(_reason(lines, target, python))
    wheels = {wheel.package: wheel for wheel in map(wheel_at, sorted(folder.iterdir()))}
    if set(wheels) != set(PACKAGES):
        raise UserError(
            f"pip downloaded {', '.join(sorted(wheels))}; expected {', '.join(PACKAGES)}; check its settings"
        )
    return [wheels[package] for package in PACKAGES]


def wheel_at(path: Path) -> Wheel:
    """What the name of a wheel says. Raises UserError for another file."""
    parts = A_WHEEL.fullmatch(path.name)
    if parts is None:
        raise UserError(f"pip downloaded {path.name}; expected wheels; check its settings")
    return Wheel(
        path=path,
        package=parts["name"].lower().replace("_", "-"),
        version=parts["version"],
        glibc=_oldest_glibc(parts["platform"]),
    )


def _oldest_glibc(platforms: str) -> tuple[int, int]:
    versions = []
    for platform in platforms.split("."):
        modern = re.match(r"manylinux_(\d+)_(\d+)_", platform)
        legacy = LEGACY_TAGS.get(platform.partition("_")[0])
        if modern is not None:
            versions.append((int(modern[1]), int(modern[2])))
        elif legacy is not None:
            versions.append(legacy)
    return min(versions, default=(0, 0))


def _run_pip(command: list[str], console: Console) -> list[str] | None:
    """Run pip, and print its progress. Returns its output if it fails, else None."""
    lines = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line.strip())
            if lines[-1].startswith(PROGRESS):
                console.print(remark(lines[-1]), soft_wrap=True)
    return lines if pip.returncode else None


def _reason(lines: list[str], target: Target, python: str) -> str:
    """Why pip failed, in one line."""
    output = "\n".join(lines)
    if "No module named pip" in output:
        return f"{sys.executable} has no pip, which downloads the wheels; install it: python -m ensurepip"
    if any(name in output for name in UNREACHABLE):
        return "pip cannot reach the package index; check the network, or name a folder of wheels with PIP_FIND_LINKS"
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing is not None:
        return (
            f"pip finds no wheel of {missing[1]} for CPython {python} on {target} Linux with glibc 2.28; package for "
            "another version of Python"
        )
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
    return f"pip cannot download the wheels: {errors[-1]}"
