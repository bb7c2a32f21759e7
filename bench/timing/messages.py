"""Messages between a benchmark and its workers.

Uses only the standard library, because workers in the environments of peers import it. A worker imports neither
`bench.results.benchmark` nor pydantic, because this would add to every measured cold start.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.results.benchmark import Device, Engine, Precision


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The model that a worker loads. The fields are those of `bench.timing.systems.Contender` and its system."""

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
    """Facts about a loaded model, as its library reports them.

    `ran_on`: the device or execution provider. `num_parameters`: None if the library cannot count them. `num_streams`,
    `versions`: only for peers.
    """

    num_threads: int
    ran_on: str
    num_parameters: int | None = None
    num_streams: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """The state of a worker. The seconds are those of its start, without the start of the interpreter."""

    model: ModelFacts
    priority: int
    cores: int | None
    peak_rss_bytes: int
    import_s: float
    load_s: float
    first_answer_s: float
