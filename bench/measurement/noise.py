"""What else the machine did while it measured: other programs, a hypervisor that took its share, throttling."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.measurement.cpu_quota import groups, quota_cores, read_text
from bench.results.measurements import MachineSettings, Noise

CPUS = Path("/sys/devices/system/cpu")
LISTEN_S = 1.0
BUSY_CORES = 0.15  # of other programs before the benchmark, from which on a caution reports it
STOLEN = 0.02  # share of the time, likewise


class NoiseMonitor:
    """Listens for a second, then counts until `noise` is read."""

    def __init__(self, listen_s: float = LISTEN_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.busy_cores = psutil.cpu_percent(interval=listen_s) / 100 * (psutil.cpu_count() or 1)
        self.began, self.stolen_s, self.throttled = clock(), _stolen_s(), _times_throttled()

    def noise(self) -> Noise:
        """What happened since the start, and before it."""
        cores_s = (self.clock() - self.began) * (psutil.cpu_count() or 1)
        throttled = _times_throttled()
        return Noise(
            busy_cores=round(self.busy_cores, 3),
            stolen=round((_stolen_s() - self.stolen_s) / cores_s, 4),
            throttled=None if throttled is None or self.throttled is None else throttled - self.throttled,
        )


def machine_settings() -> MachineSettings:
    """What the system is set to."""
    return MachineSettings(
        governor=read_text(CPUS / "cpu0/cpufreq/scaling_governor"),
        quota_cores=quota_cores(),
        smt=read_text(CPUS / "smt/control"),
        physical_cores=psutil.cpu_count(logical=False),
    )


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _times_throttled() -> int | None:
    """By the quotas of the control groups and by heat, added; None where the kernel counts neither."""
    counts = []
    for group in groups():
        for line in (read_text(group / "cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                counts.append(int(value))
    for path in CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        counts.append(int(read_text(path) or 0))
    return sum(counts) if counts else None
