"""Small disks in memory, which fill up or are read-only. Mounting them needs root.

They are in a mount namespace of the attack's own process, so they vanish with it.
"""

import ctypes
import os
import tempfile
from functools import cache
from pathlib import Path

CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 0x4000, 0x40000
libc = ctypes.CDLL(None, use_errno=True)


@cache
def is_mounting_possible() -> bool:
    """Whether a process may mount a disk. Tries it in a child."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                mount(Path(folder) / "small", 100)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def mount(folder: Path, kilobytes: int) -> Path:
    """Make the folder and mount an empty disk of this size there, in a namespace of this process and its children."""
    folder.mkdir()
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    _mount(b"none", Path("/"), MS_REC | MS_PRIVATE, "")
    _mount(b"tmpfs", folder, 0, f"size={kilobytes}k")
    return folder


def remount(folder: Path, mode: str = "rw") -> None:
    """Make the disk larger, or read-only (mode "ro")."""
    _mount(b"tmpfs", folder, MS_REMOUNT | (MS_RDONLY if mode == "ro" else 0), "" if mode == "ro" else "size=500m")


def _mount(source: bytes, folder: Path, flags: int, options: str) -> None:
    if libc.mount(source, os.fsencode(folder), source, flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"cannot mount {folder}")
