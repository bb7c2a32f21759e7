"""Estimates how long a benchmark takes on this machine, from the time of one text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measurement.noise import LISTEN_S
from bench.results.measurements import LoadTest, Protocol
from bench.timing.systems import Shape
from bench.timing.worker import BRIEF_WARM_UP_S, WARM_UP_WINDOW

BUNDLE_START_S, BASELINE_START_S = 0.5, 1.5
COMPILE_S, COMPILE_AGAIN_S = 30.0, 12.0  # torch.compile in the first process, and in later ones with a warm cache
ROOFLINE_S, PROFILE_S = 15.0, 5.0  # of the machine, and of each bundle
WARM_UP_WINDOWS = 3  # until the median is stable
FIXED_TOKENS = 24  # the time of a text that does not depend on its length, in tokens
BATCH_SHARE = 0.7  # time of a text in a batch, as a share of its time at batch size 1; includes padding
BUNDLE_SHARE = 0.6  # time of a text in onnxruntime, as a share of its time in torch
BASELINE_MS = 1.0


@dataclass(frozen=True, kw_only=True)
class LineupCost:
    """The systems of a benchmark and their times on this machine, with the threads of the benchmark.

    `teacher_ms`, `student_ms`: one text of `mean_tokens` in torch at batch size 1. `num_rows`: scored rows.
    `torch_start_s`: start of a process until torch has predicted a text.
    """

    teacher_ms: float
    student_ms: float
    mean_tokens: float
    num_teacher_bundles: int
    num_student_bundles: int
    num_rows: int
    compiled_teacher: bool = False
    roofline: bool = False
    torch_start_s: float = 5.0

    def systems(self) -> list[tuple[float, float]]:
        """The start in seconds and the time of a text in milliseconds, of every system on the CPU.

        The A/A control and the baseline are the last two.
        """
        teacher = [(self.torch_start_s, self.teacher_ms)] * (2 if self.compiled_teacher else 1)
        teacher += [(BUNDLE_START_S, self.teacher_ms * BUNDLE_SHARE)] * self.num_teacher_bundles
        student = [(self.torch_start_s, self.student_ms)]
        student += [(BUNDLE_START_S, self.student_ms * BUNDLE_SHARE)] * (self.num_student_bundles + 1)
        return [*teacher, *student, (BASELINE_START_S, BASELINE_MS)]


def benchmark_seconds(
    cost: LineupCost,
    protocol: Protocol,
    grid: Sequence[Shape],
    *,
    load: LoadTest | None = None,
    thread_counts: Sequence[int] = (),
) -> float:
    """The expected seconds of a benchmark on a quiet machine, rather too many than too few.

    `thread_counts`: of a thread sweep, if there is one.
    """
    systems = cost.systems()
    seconds = LISTEN_S + _timing_seconds(systems, cost, protocol, grid)
    starts = len(range(0, protocol.rounds, protocol.restart_every))
    if cost.compiled_teacher:
        seconds += COMPILE_S + (starts - 1) * COMPILE_AGAIN_S
    if cost.roofline:
        seconds += ROOFLINE_S + PROFILE_S * (cost.num_teacher_bundles + cost.num_student_bundles)
    models = systems[:-2]  # without the A/A control and the baseline
    if load is not None:
        seconds += sum(_load_seconds(start, ms / 1e3, load) for start, ms in models)
    return seconds + len(thread_counts) * _timing_seconds(models, cost, protocol, ())


def _timing_seconds(
    systems: Iterable[tuple[float, float]], cost: LineupCost, protocol: Protocol, grid: Sequence[Shape]
) -> float:
    starts = len(range(0, protocol.rounds, protocol.restart_every))
    visits = -(-protocol.texts_per_round // protocol.texts_per_visit) + len(grid)
    brief = min(BRIEF_WARM_UP_S, protocol.warm_up_s / 10)
    seconds = 0.0
    for start_s, text_ms in systems:
        text_s = text_ms / 1e3
        calls = [(text_s, protocol.texts_per_round)]
        for batch, length in grid:
            repeats = protocol.repeats if batch == 1 else protocol.batch_repeats
            calls.append((_shape_seconds(text_s, cost.mean_tokens, (batch, length)), repeats))
        warm_ups = sum(_warm_up_seconds(call_s, protocol.warm_up_s) for call_s, _ in calls)
        timed = sum(call_s * repeats for call_s, repeats in calls)
        bulk = protocol.throughput_texts * text_s * BATCH_SHARE
        seconds += starts * (start_s + warm_ups) + protocol.rounds * (timed + bulk + visits * max(brief, text_s))
        seconds += cost.num_rows * text_s * BATCH_SHARE
    return seconds


def _shape_seconds(text_s: float, mean_tokens: float, shape: Shape) -> float:
    batch, length = shape
    return text_s * (FIXED_TOKENS + batch * length) / (FIXED_TOKENS + mean_tokens)


def _warm_up_seconds(call_s: float, max_seconds: float) -> float:
    """Two windows or more, of which the first is always completed."""
    window_s = WARM_UP_WINDOW * call_s
    return max(window_s, min(WARM_UP_WINDOWS * window_s, max_seconds + window_s))


def _load_seconds(start_s: float, text_s: float, load: LoadTest) -> float:
    probe_s = max(load.probe_s, load.probe_texts * text_s)
    return load.processes * start_s + load.closed_s + load.offline_texts * text_s + load.probes * probe_s
