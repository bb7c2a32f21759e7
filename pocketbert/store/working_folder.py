"""The working folder of a stage that is not finished."""

import os
import shutil
from fnmatch import fnmatch

from compress.common.owned_files import OwnedFolder

PARTIAL = ".partial"  # the folder of working folders in a run folder
FINGERPRINT = "fingerprint"  # of the stage that is being built; removed first, so that no rest is resumed
FINISHED = "finished.json"  # the record of a stage whose output is complete but may not be in its place yet
CONTENT = (  # what stages write there; see `Workspace.kept_path`
    FINGERPRINT, FINISHED, "output", "checkpoints", "texts", "tokens", "blocks", "held_out", "points.json", "*.npy",
    ".seals", ".*.partial",
)  # fmt: skip


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
