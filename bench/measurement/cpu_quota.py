"""The CPU quota of this process's control groups (Linux cgroups, versions 1 and 2)."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
UNIFIED = "sys/fs/cgroup"  # mount point of version 2
CPU = "sys/fs/cgroup/cpu"  # controller of version 1; a link if it shares a mount with cpuacct
ROOT_MEMBERSHIP = "0::/\n1:cpu:/"


def quota_cores(root: Path = ROOT) -> float | None:
    """CPU quota in cores: the smallest of the process's own control group and its ancestors.

    None if there is no quota, if it cannot be read, or if the system has no control groups. `root`: of the file system.
    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (cpu.cfs_quota_us).
    """
    quotas = [_quota(group) for group in groups(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def groups(root: Path = ROOT) -> Iterator[Path]:
    """The folders of the process's control groups and their ancestors, of both versions, innermost first."""
    for line in (read_text(root / "proc/self/cgroup") or ROOT_MEMBERSHIP).splitlines():
        _, _, membership = line.partition(":")
        controllers, _, path = membership.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        yield from _ancestors(root / (CPU if controllers else UNIFIED), path)


def read_text(path: Path) -> str | None:
    """The content of a file without surrounding whitespace; None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _ancestors(mount: Path, path: str) -> Iterator[Path]:
    """The group at `path` below a mount, and its ancestors up to the mount.

    A container may see the host's path although its own group is mounted. The leading parts of the path then do not
    exist, so the longest existing tail is used.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # the group is outside this namespace
        parts = []
    tails = (parts[start:] for start in range(len(parts)))
    existing = next((tail for tail in tails if os.access(mount.joinpath(*tail), os.X_OK)), [])
    for depth in range(len(existing), -1, -1):
        yield mount.joinpath(*existing[:depth])


def _quota(group: Path) -> float | None:
    unified = (read_text(group / "cpu.max") or "").split()
    quota, period = unified if len(unified) == 2 else (_microseconds(group, "quota"), _microseconds(group, "period"))
    try:
        quota_us, period_us = int(quota), int(period)
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    except (ValueError, OverflowError):  # "max", empty, or not a number
        return None


def _microseconds(group: Path, name: str) -> str:
    return read_text(group / f"cpu.cfs_{name}_us") or ""
