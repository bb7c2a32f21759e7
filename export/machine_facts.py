"""Typed records of the machine that produced a measurement."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """Operating system settings; None where the system does not report them.

    `quota_cores`: CPU quota of the control group, in cores.
    """

    governor: str | None = None
    quota_cores: float | None = None
    smt: str | None = None
    physical_cores: int | None = None


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first NVIDIA GPU, as `nvidia-smi` reports it. Values include their units."""

    name: str
    driver_version: str
    memory_total: str
    sm_clock: str
    pstate: str
    temperature: str
    power_draw: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine. `versions`: versions of the packages that affect the figures."""

    cpu: str
    architecture: str
    instructions: list[str]
    logical_cores: int | None
    usable_cores: int
    memory_bytes: int
    system: str
    python: str
    load_average: float
    settings: MachineSettings = field(default_factory=MachineSettings)
    gpu: Gpu | None = None
    versions: dict[str, str]
