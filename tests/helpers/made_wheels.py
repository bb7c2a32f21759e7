"""Wheels made in tests: of installed packages, and empty ones."""

import zipfile
from importlib.metadata import distribution
from pathlib import Path


def wheel_of_installed(package: str, folder: Path) -> Path:
    """The wheel that an installed package came from, made again of its files."""
    installed = distribution(package)
    tags = [line.partition(": ")[2] for line in (installed.read_text("WHEEL") or "").splitlines() if "Tag" in line]
    python, abi, _ = tags[0].split("-")
    platforms = ".".join(tag.split("-")[2] for tag in tags)
    path = folder / f"{package}-{installed.version}-{python}-{abi}-{platforms}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in installed.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(file.locate(), str(file))
    return path


def empty_wheel(package: str, version: str, tag: str, folder: Path) -> Path:
    """A wheel with nothing but its metadata."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{package}-{version}-{tag}.whl"
    name = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {
            "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
            "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
            "RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{file}", (1980, 1, 1, 0, 0, 0)), text)
    return path
