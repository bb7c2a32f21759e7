"""Packages a bundle for another machine: the bundle, its libraries and a script that installs both, in one archive."""

import hashlib
import json
import os
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from compress.common.console import remark
from compress.common.errors import UserError
from compress.common.files import replacing, sha256
from export.bundle.bundle_json import bundle_errors, read_bundle_info
from export.bundle.listed_files import CARD, SUMS_FILE, check_files, read_sums
from pocketbert import __version__
from pocketbert.edge.archive import write_archive
from pocketbert.edge.wheels import Target, Wheel, download_wheels, requirements_of

DEVICE = Path(__file__).with_name("device")
INSTALLER, SCRIPTS = "install.sh", ("golden.py", "install.py")
SUFFIXES = (".tar.gz", ".tgz")
FORMAT_VERSION = 1
LONGEST_NAME = 60
PYTHON_VERSION = re.compile(r"3\.[1-9][0-9]")  # predict.py needs 3.10
SHARE_OF_BYTECODE = 1.1  # of what is unpacked: Python adds compiled modules


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """An archive. `packages`: versions of the libraries in it. `glibc`: the oldest version that they work with."""

    archive: str
    size_bytes: int
    sha256: str
    target: Target
    python: str
    glibc: str
    installed_bytes: int
    packages: dict[str, str]


def package_bundle(bundle: Path, *, target: Target, python: str, output: Path | None, console: Console) -> Packaged:
    """Write the archive. `output`: None for NAME-VARIANT-TARGET-pythonVERSION.tar.gz in the working folder.

    Raises UserError if the output exists, the bundle is damaged or too old, or pip finds no wheels.
    """
    if output is not None:
        _check_output(output)
    if PYTHON_VERSION.fullmatch(python) is None:
        raise UserError(f"--python {python}: expected a version such as 3.11; predict.py needs 3.10 or newer")
    info = read_bundle_info(bundle)
    with bundle_errors():
        check_files(bundle)
        listed = [*read_sums(bundle), SUMS_FILE]
    if info.golden_terms is None:
        raise UserError(f"{bundle}: PocketBERT 0.5.0 or older wrote this bundle; export it again")
    requirements = requirements_of(info.requires)
    title = _safe_name(f"{info.name}-{info.variant}") + f"-{target}-python{python}"
    if output is None:
        output = Path(f"{title}.tar.gz")
        _check_output(output)
    with tempfile.TemporaryDirectory() as downloads:
        wheels = download_wheels(Path(downloads), requirements, target=target, python=python, console=console)
        files: dict[str, Path | bytes] = {f"bundle/{name}": bundle / name for name in listed if name != CARD}
        if (bundle / CARD).is_file():
            files[f"bundle/{CARD}"] = bundle / CARD
        files |= {f"wheels/{wheel.path.name}": wheel.path for wheel in wheels}
        files["requirements.txt"] = _hashed_requirements(wheels).encode()
        files |= {name: DEVICE / name for name in SCRIPTS}
        files[INSTALLER] = _installer(target, python).encode()
        glibc = "{}.{}".format(*max((wheel.glibc for wheel in wheels), default=(0, 0)))
        installed_bytes = _installed_bytes(bundle, listed, wheels)
        packages = {wheel.package: wheel.version for wheel in wheels}
        manifest = {
            "format_version": FORMAT_VERSION,
            "pocketbert": __version__,
            "bundle": {"name": info.name, "variant": info.variant},
            "target": target,
            "python": python,
            "glibc": glibc,
            "packages": packages,
            "installed_bytes": installed_bytes,
            "files": {name: _sha256(files[name]) for name in sorted(files)},
        }
        files["manifest.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
        console.print(remark(f"writing {output}"), soft_wrap=True)
        with replacing(output) as partial:
            write_archive(partial, title, files, programs=frozenset({INSTALLER}))
            _check_output(output)  # it may have come into being meanwhile
    return Packaged(
        archive=str(output),
        size_bytes=output.stat().st_size,
        sha256=sha256(output),
        target=target,
        python=python,
        glibc=glibc,
        installed_bytes=installed_bytes,
        packages=packages,
    )


def _check_output(output: Path) -> None:
    """Raise UserError unless the path is free, in a folder, and has the suffix of an archive."""
    if os.path.lexists(output):
        raise UserError(f"{output}: already exists; move it away, or choose another --output")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; create it, or choose another --output")
    if not output.name.endswith(SUFFIXES):
        raise UserError(f"--output {output}: expected a name that ends with {' or '.join(SUFFIXES)}")


def _safe_name(name: str) -> str:
    """The name with none but letters, digits, dots, dashes and underscores of ASCII."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_NAME].strip(".-") or "bundle"


def _installer(target: Target, python: str) -> str:
    text = (DEVICE / INSTALLER).read_text(encoding="utf-8")
    values = {"TARGET": target, "PYTHON": python, "PYTHON_TUPLE": python.replace(".", ", ")}
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _hashed_requirements(wheels: list[Wheel]) -> str:
    """For pip in an environment of one's own: `--require-hashes`, `--no-deps`, `--no-index`, `--find-links wheels`."""
    lines = [f"{wheel.package}=={wheel.version} --hash=sha256:{sha256(wheel.path)}\n" for wheel in wheels]
    return "".join(lines)


def _installed_bytes(bundle: Path, listed: list[str], wheels: list[Wheel]) -> int:
    size = sum((bundle / name).stat().st_size for name in listed if (bundle / name).is_file())
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            size += sum(entry.file_size for entry in archive.infolist())
    return int(size * SHARE_OF_BYTECODE)


def _sha256(content: Path | bytes) -> str:
    return sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
