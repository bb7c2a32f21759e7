"""The CPU quota of the control groups that this process runs in: Linux's cgroups, version 1 and 2."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
UNIFIED = "sys/fs/cgroup"  # where version 2 is mounted
CPU = "sys/fs/cgroup/cpu"  # version 1's controller; a link where it shares a mount with cpuacct
IN_THE_ROOT = "0::/\n1:cpu:/"


def quota_cores(root: Path = ROOT) -> float | None:
    """Cores that the process may keep busy: the smallest quota of its own control group and of those around it.

    None without a quota, where none can be read, and on systems without control groups. `root`: of the file system.
    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_quota_us).
    """
    quotas = [_quota(group) for group in groups(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def groups(root: Path = ROOT) -> Iterator[Path]:
    """The folders of the process's own control group and of those around it, of both versions, from the inside out."""
    for line in (read_text(root / "proc/self/cgroup") or IN_THE_ROOT).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        yield from _upwards(root / (CPU if controllers else UNIFIED), path)


def read_text(path: Path) -> str | None:
    """A file's text without blanks around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group at `path` below a mount, and its parents up to the mount.

    A container may see the host's path but have its own group mounted; the front of the path is then not there.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # a group outside of what this namespace shows
        parts = []
    tails = (parts[start:] for start in range(len(parts)))
    inside = next((tail for tail in tails if os.access(mount.joinpath(*tail), os.X_OK)), [])
    for depth in range(len(inside), -1, -1):
        yield mount.joinpath(*inside[:depth])


def _quota(group: Path) -> float | None:
    unified = (read_text(group / "cpu.max") or "").split()
    quota, period = unified if len(unified) == 2 else (_us(group, "quota"), _us(group, "period"))
    try:
        quota_us, period_us = int(quota), int(period)
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    except (ValueError, OverflowError):  # "max", nothing, or no number
        return None


def _us(group: Path, name: str) -> str:
    return read_text(group / f"cpu.cfs_{name}_us") or ""
