"""The machine that figures were measured on, as plain typed records."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """What the system is set to; None where it does not say. `quota_cores`: the control group's CPU quota."""

    governor: str | None = None
    quota_cores: float | None = None
    smt: str | None = None
    physical_cores: int | None = None


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first NVIDIA GPU, as `nvidia-smi` reports it, with units."""

    name: str
    driver_version: str
    memory_total: str
    sm_clock: str
    pstate: str
    temperature: str
    power_draw: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the figures were measured on. `versions`: of the packages that the figures depend on."""

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
