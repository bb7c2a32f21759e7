"""Detection of disturbances. The test sets all counters and the clock, so nothing depends on the machine."""

from types import SimpleNamespace

import psutil
import pytest

from bench.measurement import noise
from bench.measurement.noise import Noise, NoiseMonitor


class Machine:
    """A fake machine with four cores. `now`: its clock, in seconds."""

    def __init__(self, monkeypatch, tmp_path) -> None:
        self.now, self.stolen_s, self.percent = 100.0, 7.0, 0.0
        self.intervals: list[float] = []
        self.stat = tmp_path / "cpu.stat"
        self.heat = tmp_path / "cpus" / "cpu0" / "thermal_throttle" / "core_throttle_count"
        monkeypatch.setattr(psutil, "cpu_percent", self.cpu_percent)
        monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4)
        monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(steal=self.stolen_s))
        monkeypatch.setattr(noise, "groups", lambda: [tmp_path])
        monkeypatch.setattr(noise, "CPUS", tmp_path / "cpus")

    def cpu_percent(self, interval: float) -> float:
        self.intervals.append(interval)
        self.now += interval
        return self.percent

    def throttle(self, by_quota: int, by_heat: int) -> None:
        self.stat.write_text(f"nr_periods 900\nnr_throttled {by_quota}\nthrottled_usec 5\n")
        self.heat.parent.mkdir(parents=True, exist_ok=True)
        self.heat.write_text(f"{by_heat}\n")


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def monitor_of(machine: Machine) -> NoiseMonitor:
    return NoiseMonitor(listen_s=0.5, clock=lambda: machine.now)


def test_busy_cores_are_measured_before_the_benchmark(machine):
    machine.percent = 30.0
    monitor = monitor_of(machine)
    machine.percent, machine.now = 100.0, machine.now + 60  # the load of the benchmark itself
    assert monitor.noise() == Noise(busy_cores=1.2, stolen=0.0, throttled=None) and machine.intervals == [0.5]


def test_stolen_time_is_a_share_of_the_time_of_all_cores_since_the_start(machine):
    monitor = monitor_of(machine)
    machine.now, machine.stolen_s = machine.now + 50, machine.stolen_s + 16
    assert monitor.noise().stolen == 16 / (50 * 4)


def test_throttling_by_quota_and_heat_is_counted_since_the_start(machine):
    machine.throttle(40, 3)
    monitor = monitor_of(machine)
    machine.throttle(45, 4)
    machine.now += 1
    assert monitor.noise().throttled == 6
