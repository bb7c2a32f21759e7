"""Benchmarks training speed: a ladder of configurations from a plain loop to ours, interleaved on the same examples."""

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Literal

from bench.measurement.stats import speed_ratio
from bench.measurement.worker_process import WorkerError, WorkerProcess
from bench.results.measurements import Machine, Ratio
from compress.data.task_types import TaskTypeName
from compress.models.shape import StudentShape

Stage = Literal["intermediate", "prediction"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One configuration of the ladder.

    `engine`: a plain loop, our trainer, or TextBrewer. `padding`: to the maximum length, to the longest row of the
    batch, or the latter with batches of similar length. `precision`: fp32, or the automatic choice of our trainer.
    `outputs`: all outputs of the models, or only those that the losses use. `fused`: uses a fused optimiser. `cached`:
    computes the teacher's logits once. `compiled`: uses torch.compile.
    """

    name: str
    engine: Literal["plain", "ours", "textbrewer"] = "plain"
    padding: Literal["maximum", "longest", "bucketed"] = "bucketed"
    precision: Literal["fp32", "ours"] = "ours"
    outputs: Literal["all", "used"] = "used"
    fused: bool = True
    cached: bool = False
    compiled: bool = False


PLAIN = TrainingConfig(
    name="plain: padded, fp32, all outputs", padding="maximum", precision="fp32", outputs="all", fused=False
)
DYNAMIC = TrainingConfig(
    name="+ padding to the longest of a batch", padding="longest", precision="fp32", outputs="all", fused=False
)
PRECISION = TrainingConfig(name="+ our precision", padding="longest", outputs="all", fused=False)
FUSED = TrainingConfig(name="+ fused optimiser", padding="longest", outputs="all")
USED = TrainingConfig(name="+ used outputs only", padding="longest")
BUCKETED = "+ batches of like length"
OURS = TrainingConfig(name="PocketBERT", engine="ours", cached=True)
COMPILED = TrainingConfig(name="PocketBERT, compiled", engine="ours", cached=True, compiled=True)
TEXTBREWER = TrainingConfig(name="TextBrewer", engine="textbrewer", padding="longest")
LADDER: dict[Stage, list[TrainingConfig]] = {
    "intermediate": [PLAIN, DYNAMIC, PRECISION, FUSED, USED, TrainingConfig(name=BUCKETED), OURS, COMPILED],
    "prediction": [
        PLAIN, DYNAMIC, PRECISION, FUSED, USED,
        TrainingConfig(name="+ logits of the teacher cached", padding="longest", cached=True),
        TrainingConfig(name=BUCKETED, cached=True), OURS, COMPILED,
    ],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingWorkload:
    """The models and examples of the benchmark.

    `rows`: token ids of each example, a sample of the data set. `used_tokens`: ids of all tokens in the data set, whose
    embeddings are trained. `epochs`: epochs of the prediction stage, over which the time to fill the cache is spread.
    `max_length`: length of the padded rows in tokens, for padding to the maximum.
    """

    teacher: str
    shape: StudentShape
    rows: Sequence[Sequence[int]]
    used_tokens: Sequence[int]
    num_labels: int
    task_type: TaskTypeName
    batch_size: int
    max_length: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class TrainingWorkerSpec:
    """The task of one worker. `workload`: path of the `TrainingWorkload`, which all workers read."""

    workload: str
    stage: Stage
    config: TrainingConfig
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class LadderTiming:
    """Raw measurements of one configuration.

    `seconds`: training time over all rows, one per round. `fill_s`: time to fill the cache of teacher logits, one per
    round; empty without a cache. `input_s`: time of the input pipeline without training, one per round.
    """

    config: TrainingConfig
    seconds: list[float] = field(default_factory=list)
    fill_s: list[float] = field(default_factory=list)
    input_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int = 0
    error: str | None = None

    def epoch_seconds(self, epochs: int) -> list[float]:
        """Seconds per epoch in each round, including the epoch's share of the time to fill the cache."""
        fill_s = self.fill_s or [0.0] * len(self.seconds)
        return [seconds + fill / epochs for seconds, fill in zip(self.seconds, fill_s, strict=True)]


@dataclass(frozen=True, kw_only=True)
class LadderRow:
    """The speed of one configuration. Figures are None if it failed; `error` has the reason.

    `input_share`: time of the input pipeline without training, relative to the training time; None for a peer, which
    has its own pipeline. `speedup_over_plain`: over PLAIN. `speedup_over_best_plain`: over FUSED, which is PLAIN with
    dynamic padding, our precision and a fused optimiser.
    """

    name: str
    error: str | None = None
    examples_per_s: float | None = None
    peak_rss_bytes: int | None = None
    input_share: float | None = None
    speedup_over_plain: Ratio | None = None
    speedup_over_best_plain: Ratio | None = None


@dataclass(frozen=True, kw_only=True)
class LadderStage:
    """The ladder of one stage. `mean_tokens`: mean length of the rows. `samples`: the raw measurements."""

    rows: list[LadderRow]
    samples: list[LadderTiming]
    mean_tokens: float
    max_length: int
    batch_size: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class TrainingLadder:
    """The result of `bench training`. `num_rows`: training rows per round and configuration."""

    machine: Machine
    num_rows: int
    rounds: int
    stages: dict[Stage, LadderStage]


def time_training(
    stage: Stage,
    configs: Sequence[TrainingConfig],
    workload: TrainingWorkload,
    *,
    rounds: int,
    num_threads: int,
    peer_path: Path | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LadderTiming]:
    """Train every configuration over all rows once per round, in random order, each in its own worker process.

    The first round is a warm-up and does not count. `peer_path`: import folder of TextBrewer.
    """
    timings = [LadderTiming(config=config) for config in configs]
    workers: dict[int, WorkerProcess] = {}
    generator = random.Random(seed)
    done, total = 0, len(configs) * (rounds + 2)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "workload.json"
        file.write_text(json.dumps(asdict(workload)))

        def start(index: int) -> None:
            path = () if peer_path is None else (str(peer_path),)
            workers[index] = WorkerProcess(
                "bench.training_speed.worker", configs[index].name, num_threads=num_threads, path=path
            )
            spec = TrainingWorkerSpec(workload=str(file), stage=stage, config=configs[index], num_threads=num_threads)
            workers[index].ask("load", spec=spec)

        def train(index: int, *, counts: bool) -> None:
            seconds, fill_s = workers[index].ask("train")
            input_s = workers[index].ask("read")
            if counts:
                timings[index].seconds.append(seconds)
                timings[index].input_s.append(input_s)
                if configs[index].cached and stage == "prediction":
                    timings[index].fill_s.append(fill_s)

        def finish(index: int) -> None:
            timings[index] = replace(timings[index], peak_rss_bytes=workers[index].ask("facts"))

        def for_each(step: Callable[[int], None]) -> None:
            nonlocal done
            for index in generator.sample(range(len(configs)), len(configs)):
                try:
                    if timings[index].error is None:
                        step(index)
                except WorkerError as error:
                    timings[index] = replace(timings[index], error=str(error))
                on_progress(done := done + 1, total)

        try:
            for_each(start)
            for number in range(rounds + 1):
                for_each(lambda index, number=number: train(index, counts=number > 0))  # type: ignore[misc]
            for_each(finish)
        finally:
            for worker in workers.values():
                worker.close()
    return timings


def training_rows(timings: Sequence[LadderTiming], workload: TrainingWorkload) -> list[LadderRow]:
    """The rows of the configurations, in the same order."""
    epoch_seconds = {timing.config: timing.epoch_seconds(workload.epochs) for timing in timings}
    return [
        LadderRow(name=timing.config.name, error=timing.error)
        if not timing.seconds
        else LadderRow(
            name=timing.config.name,
            error=timing.error,
            examples_per_s=len(workload.rows) / median(epoch_seconds[timing.config]),
            peak_rss_bytes=timing.peak_rss_bytes,
            input_share=_input_share(timing),
            speedup_over_plain=_speedup(epoch_seconds.get(PLAIN), epoch_seconds[timing.config]),
            speedup_over_best_plain=_speedup(epoch_seconds.get(FUSED), epoch_seconds[timing.config]),
        )
        for timing in timings
    ]


def _input_share(timing: LadderTiming) -> float | None:
    return None if timing.config.engine == "textbrewer" else median(timing.input_s) / median(timing.seconds)


def _speedup(baseline: list[float] | None, seconds: list[float]) -> Ratio | None:
    """The speedup over a baseline, paired by round; None if the baseline has a different number of rounds."""
    if not baseline or len(baseline) != len(seconds):
        return None
    return speed_ratio([[[value] for value in baseline]], [[[value] for value in seconds]])
