"""The working folder of a stage that is not finished, and the disks that it may fill."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from fnmatch import fnmatch
from pathlib import Path

from compress.common.errors import UserError
from compress.common.owned_files import OwnedFolder

PARTIAL = ".partial"  # the folder of working folders in a run folder
FINGERPRINT = "fingerprint"  # of the stage that is being built; removed first, so that no rest is resumed
FINISHED = "finished.json"  # the record of a stage whose output is complete but may not be in its place yet
CONTENT = (  # what stages write there; see `Workspace.kept_path`
    FINGERPRINT, FINISHED, "output", "checkpoints", "texts", "tokens", "blocks", "held_out", "points.json", "*.npy",
    ".seals", ".*.partial",
)  # fmt: skip
MIN_FREE_BYTES = 2**26  # below it, the disk counts as full
FULL = (ENOSPC, EDQUOT)


def discard(owned: OwnedFolder, partial: str, *, only: str = "") -> None:
    """Remove a working folder, or `only` one entry of it. Entries that no stage writes are moved aside."""
    folder = owned.folder / partial
    owned.make_folders(f"{partial}/{FINGERPRINT}")
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: name != FINGERPRINT)
    for name in [only] if only else names:
        path = folder / name
        if not os.path.lexists(path):
            continue
        if path.is_symlink() or not any(fnmatch(name, pattern) for pattern in CONTENT):
            owned.set_aside(f"{partial}/{name}")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not only:
        folder.rmdir()


@contextmanager
def disk_errors(*folders: Path) -> Iterator[None]:
    """Name the full disk in errors. The body writes to these folders, most to the first one."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.filename is None:  # a failed write does not name its file
            error.filename = str(_fullest(folders) or folders[0])
        raise
    except Exception as error:  # torch and safetensors report a full disk with their own exceptions
        full = _fullest(folders)
        if full is None and not any(os.strerror(number) in str(error) for number in FULL):
            raise
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(full or folders[0])) from error


def _fullest(folders: tuple[Path, ...]) -> Path | None:
    """The folder whose disk has the least free space; None if no disk is full."""
    free = {folder: shutil.disk_usage(folder).free for folder in folders if folder.exists()}
    full = min(free, key=lambda folder: free[folder], default=None)
    return full if full is not None and free[full] < MIN_FREE_BYTES else None
