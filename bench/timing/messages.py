"""What passes between a benchmark and its workers. Standard library alone: a peer's environment imports it too.

A worker imports neither `bench.results.benchmark` nor pydantic: either would add to every cold start that is measured.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results.benchmark import Device, Engine, Precision


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a worker loads, and how it runs it: the fields of `bench.timing.systems.Contender` and its system."""

    engine: "Engine"
    path: str
    device: "Device" = "cpu"
    precision: "Precision" = "fp32"
    max_length: int | None = None
    compiled: bool = False
    random_head: bool = False
    slowed_by: float = 0.0
    module: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A loaded model, as its library reports it.

    `ran_on`: the device or execution provider. `num_parameters`: None where the library cannot count them.
    `num_streams`, `versions`: of a peer.
    """

    num_threads: int
    ran_on: str
    num_parameters: int | None = None
    num_streams: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """A worker at this moment. Seconds: of the parts of its start, without the interpreter's."""

    model: ModelFacts
    priority: int
    cores: int | None
    peak_rss_bytes: int
    import_s: float
    load_s: float
    first_answer_s: float
