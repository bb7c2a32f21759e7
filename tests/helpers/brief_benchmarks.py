"""Makes the benchmarks of this process brief, for tests that check anything but the figures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench import benchmark
from bench.results.measurements import Effort, LoadResult, LoadTest, Protocol
from bench.timing.effort import EffortSettings, settings_of
from bench.timing.load import measure_load
from bench.timing.systems import Contender, Workload
from pocketbert.shape_design import proposal
from pocketbert.standalone import bench_models


def make_benchmarks_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the warm-ups and load tests of benchmarks of folders, and time fewer texts and shapes.

    Rounds, shapes of benchmarks, processes and probed rates remain.
    """

    def brief_settings(effort: Effort) -> EffortSettings:
        return replace(settings_of(effort), warm_up_s=0.1, texts_per_round=6)

    def brief_load(
        contenders: Sequence[Contender], workload: Workload, protocol: Protocol, load: LoadTest, **options: Any
    ) -> list[LoadResult]:
        return measure_load(contenders, workload, protocol, replace(load, probe_s=0.2, closed_s=0.2), **options)

    monkeypatch.setattr(proposal, "MOST_TIMED", 1)
    monkeypatch.setattr(bench_models, "settings_of", brief_settings)
    monkeypatch.setattr(benchmark, "measure_load", brief_load)
