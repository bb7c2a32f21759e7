"""What else the machine did while it measured: other programs, a hypervisor that took its share, throttling."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LISTEN_S = 1.0
BUSY_CORES = 0.15  # of other programs before the benchmark, from which on it is told
STOLEN = 0.02  # share of the time, likewise


@dataclass(frozen=True, kw_only=True)
class Noise:
    """`busy_cores`: cores in use in the second before the benchmark began. `stolen`: the share of the cores' time that
    a hypervisor gave to others while it ran. `throttled`: how often the kernel held this control group or a core back
    meanwhile; None where it does not tell.
    """

    busy_cores: float
    stolen: float
    throttled: int | None


class Watch:
    """Listens for a second, then counts until it is asked."""

    def __init__(self, listen_s: float = LISTEN_S) -> None:
        self.busy_cores = psutil.cpu_percent(interval=listen_s) / 100 * (psutil.cpu_count() or 1)
        self.began, self.stolen_s, self.throttled = time.monotonic(), _stolen_s(), _times_throttled()

    def told(self) -> Noise:
        """What happened since."""
        cores_s = (time.monotonic() - self.began) * (psutil.cpu_count() or 1)
        throttled = _times_throttled()
        return Noise(
            busy_cores=round(self.busy_cores, 3),
            stolen=round((_stolen_s() - self.stolen_s) / cores_s, 4),
            throttled=None if throttled is None or self.throttled is None else throttled - self.throttled,
        )


def settings() -> dict[str, Any]:
    """What the system was set to: the frequency governor, the control group's quota in cores, simultaneous
    multithreading; None where it does not tell.
    """
    quota = _read("/sys/fs/cgroup/cpu.max")
    limit = None if quota is None or quota.startswith("max") else int(quota.split()[0]) / int(quota.split()[1])
    return {
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "quota_cores": limit,
        "smt": _read("/sys/devices/system/cpu/smt/control"),
        "physical_cores": psutil.cpu_count(logical=False),
    }


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _times_throttled() -> int | None:
    """By the control group's quota and by heat, added; None where neither is told."""
    counts = []
    for line in (_read("/sys/fs/cgroup/cpu.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "nr_throttled":
            counts.append(int(value))
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        counts.append(int(_read(str(path)) or 0))
    return sum(counts) if counts else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
