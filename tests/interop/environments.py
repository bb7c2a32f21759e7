"""The environment of each consumer, under .interop/: made once, and made again only if its packages change."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = "python3.11"  # the newest that onnxruntime 1.16 has wheels for
STAMP = "packages.json"


class UnavailableError(Exception):
    """An environment that cannot be made here, with the reason."""


@dataclass(frozen=True, kw_only=True)
class PythonPackages:
    """A virtual environment. `packages`: requirements, as pip takes them."""

    name: str
    packages: tuple[str, ...]

    def create(self, folder: Path) -> None:
        """Install the packages into a new environment."""
        python = shutil.which(PYTHON)
        if python is None:
            raise UnavailableError(f"needs {PYTHON} on the PATH")
        _run([python, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *self.packages])


@dataclass(frozen=True, kw_only=True)
class NodePackages:
    """A folder with node_modules. No package runs a script when it is installed: these would download binaries."""

    name: str
    packages: tuple[str, ...]

    def create(self, folder: Path) -> None:
        """Install the packages into a new folder."""
        if shutil.which("npm") is None:
            raise UnavailableError("needs Node.js and npm on the PATH")
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *self.packages], folder)


@dataclass(frozen=True, kw_only=True)
class DebianPackages:
    """Debian's packages, unpacked into a folder and not installed; any architecture.

    `with_dependencies`: whether to unpack all that they depend on. `wheels`: Python packages for `platforms`, in the
    folder site-packages.
    """

    name: str
    packages: tuple[str, ...]
    architecture: str
    suite: str
    with_dependencies: bool = False
    wheels: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    def create(self, folder: Path) -> None:
        """Download the packages, and unpack them into the folder."""
        apt = folder / "apt"
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources.list").write_text(
            f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {self.suite} "
            "main\n"
        )
        options = [
            f"Dir::Etc::SourceList={apt / 'sources.list'}",
            "Dir::Etc::SourceParts=/dev/null",
            f"Dir::State::Lists={apt / 'lists'}",
            f"Dir::State::Status={apt / 'status'}",
            f"Dir::Cache={apt / 'cache'}",
            f"APT::Architecture={self.architecture}",
            f"APT::Architectures={self.architecture}",
            "APT::Sandbox::User=root",
            "APT::Install-Recommends=false",
        ]
        flags = [flag for option in options for flag in ("-o", option)]
        _run(["apt-get", *flags, "update", "-qq"])
        if self.with_dependencies:
            _run(["apt-get", *flags, "install", "--download-only", "--yes", "-qq", *self.packages])
            debs = apt / "cache" / "archives"
        else:
            debs = apt / "debs"
            _run(["apt-get", *flags, "download", "-qq", *self.packages], debs)
        for deb in sorted(debs.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(deb), str(folder)])
        shutil.rmtree(apt)
        if self.wheels:
            site_packages = folder / "site-packages"
            pip = [shutil.which(PYTHON) or PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            chosen = [
                "--only-binary=:all:",
                "--python-version=3.11",
                *(f"--platform={name}" for name in self.platforms),
            ]
            _run([*pip, *chosen, f"--target={site_packages}", *self.wheels])


Environment = PythonPackages | NodePackages | DebianPackages


def folder_of(environment: Environment, root: Path) -> Path:
    """The environment's folder, made if it is not there yet. Raises UnavailableError if it cannot be made."""
    folder = root / environment.name
    wanted = repr(environment)
    stamp = folder / STAMP
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    environment.create(folder)
    stamp.write_text(json.dumps(wanted), encoding="utf-8")
    return folder


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    try:
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UnavailableError(f"needs {command[0]} on the PATH") from error
    if finished.returncode:
        lines = (finished.stderr or finished.stdout).strip().splitlines()
        raise UnavailableError(f"{' '.join(map(str, command[:4]))} ...: {lines[-1] if lines else finished.returncode}")
