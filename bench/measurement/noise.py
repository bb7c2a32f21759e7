"""Detects disturbances of a measurement: other processes, CPU time stolen by a hypervisor, throttling."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.measurement.cpu_quota import groups, quota_cores, read_text
from bench.results.measurements import MachineSettings, Noise

CPUS = Path("/sys/devices/system/cpu")
LISTEN_S = 1.0
BUSY_CORES = 0.15  # cores used by other processes before the benchmark; more causes a caveat in the report
STOLEN = 0.02  # share of stolen CPU time; more causes a caveat


class OtherPrograms:
    """Measures how many cores other programs use from its creation on, while this process may compute as well."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.started, self.busy_s = clock(), _busy_s() - _own_s()

    def busy_cores(self) -> float:
        """The mean number of cores in use by other programs, which includes time stolen by a hypervisor."""
        elapsed_s = self.clock() - self.started
        busy_s = _busy_s() - _own_s() - self.busy_s
        return max(0.0, busy_s / elapsed_s) if elapsed_s > 0 else 0.0


class NoiseMonitor:
    """Measures other processes for a second at creation, then counts disturbances until `noise` is called."""

    def __init__(self, listen_s: float = LISTEN_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.busy_cores = psutil.cpu_percent(interval=listen_s) / 100 * (psutil.cpu_count() or 1)
        self.started, self.stolen_s, self.throttled = clock(), _stolen_s(), _throttle_count()

    def noise(self) -> Noise:
        """The disturbances before and since the creation of the monitor."""
        cpu_s = (self.clock() - self.started) * (psutil.cpu_count() or 1)
        throttled = _throttle_count()
        return Noise(
            busy_cores=round(self.busy_cores, 3),
            stolen=round((_stolen_s() - self.stolen_s) / cpu_s, 4),
            throttled=None if throttled is None or self.throttled is None else throttled - self.throttled,
        )


def machine_settings() -> MachineSettings:
    """The operating system's settings that affect speed."""
    return MachineSettings(
        governor=read_text(CPUS / "cpu0/cpufreq/scaling_governor"),
        quota_cores=quota_cores(),
        smt=read_text(CPUS / "smt/control"),
        physical_cores=psutil.cpu_count(logical=False),
    )


def _busy_s() -> float:
    """CPU seconds of all programs since boot. The guest times are parts of the user times."""
    times = psutil.cpu_times()._asdict()
    return float(sum(value for name, value in times.items() if name not in ("idle", "iowait", "guest", "guest_nice")))


def _own_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def _throttle_count() -> int | None:
    """Sum of throttling by CPU quota and by heat since boot; None if the kernel counts neither."""
    counts = []
    for group in groups():
        for line in (read_text(group / "cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                counts.append(int(value))
    for path in CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        counts.append(int(read_text(path) or 0))
    return sum(counts) if counts else None
