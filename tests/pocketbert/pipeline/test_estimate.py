"""`pocketbert check`: states, warnings and printed text."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.measurement.noise import OtherPrograms
from bench.results.document import Choice
from pocketbert.cli_parts import run_text
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.pipeline import estimate
from pocketbert.pipeline.forecast import RunForecast, time_phrase
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.loading import load_recipe
from pocketbert.timing import corpus_blocks
from tiny_recipes import QUICK, write_recipe


def make_quiet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OtherPrograms, "busy_cores", lambda self: 0.0)
    patch.setattr(estimate.machine, "usable_cores", lambda: 2)
    patch.setattr(estimate.os, "cpu_count", lambda: 2)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quiet(monkeypatch)


def forecast(root: Path, base: Path, data: Path, **sections: dict[str, object]) -> RunForecast:
    recipe = load_recipe(write_recipe(root, data, teacher={"base": str(base)}, **sections))
    task = load_recipe_task(recipe, Console(quiet=True))
    return estimate.forecast(resolve(recipe, task), task, root / "run", limit_s=0.1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, base_folder, reviews) -> RunForecast:
    root = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        make_quiet(patch)
        patch.setenv("POCKETBERT_CACHE", str(root / "cache"))
        return forecast(root, base_folder, reviews)


def test_every_stage_is_estimated_and_the_totals_are_their_sums(plain):
    assert [stage.name for stage in plain.stages][-2:] == ["export", "bench"]
    for stage in plain.stages:
        assert 0 < stage.estimated_s <= stage.maximum_s, stage.name
    assert plain.estimated_s == pytest.approx(sum(stage.estimated_s for stage in plain.stages))
    assert plain.maximum_s == pytest.approx(sum(stage.maximum_s for stage in plain.stages))
    assert plain.warnings == []
    assert plain.tokens.basis.startswith("all ")


def test_finished_stages_take_no_time_and_nothing_is_timed(tmp_path, base_folder, reviews, monkeypatch):
    monkeypatch.setattr(estimate, "state_of", lambda stage, folder: "done")
    monkeypatch.setattr(estimate, "measure_speeds", None)
    finished = forecast(tmp_path, base_folder, reviews)
    assert finished.estimated_s == finished.maximum_s == 0
    assert {stage.state for stage in finished.stages} == {"done"}


def test_a_busy_machine_is_reported(quiet, tmp_path, base_folder, reviews, monkeypatch):
    monkeypatch.setattr(OtherPrograms, "busy_cores", lambda self: 1.3)
    busy = forecast(tmp_path, base_folder, reviews)
    assert busy.busy_cores == 1.3
    assert busy.warnings[0].startswith("1.3 of 2 cores are busy with other programs")


def test_busy_cores_that_this_process_may_not_use_anyway_are_no_load(quiet, monkeypatch):
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 64)
    assert estimate._contended_cores(50.0) == 0.0
    assert estimate._contended_cores(63.0) == 1.0


def test_other_programs_are_those_of_the_machine_without_this_process(monkeypatch):
    times = iter([10.0, 17.0])  # of all programs
    own = iter([(1.0, 0.0, 0.0, 0.0, 0.0), (5.0, 0.5, 0.5, 0.0, 0.0)])
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("bench.measurement.noise._busy_s", lambda: next(times))
    monkeypatch.setattr("bench.measurement.noise.os.times", lambda: next(own))
    assert OtherPrograms(clock=lambda: next(clock)).busy_cores() == pytest.approx((7.0 - 5.0) / 2)


def test_a_corpus_that_takes_long_to_read_is_extrapolated(quiet, tmp_path, base_folder, reviews, monkeypatch):
    monkeypatch.setattr(corpus_blocks, "CHECK_EVERY", 10)
    text = tmp_path / "corpus.txt"
    text.write_text("\n".join(["the film was a lovely story of it"] * 400))
    general = {**QUICK, "max_steps": None, "corpus": str(text), "max_length": 16}
    monkeypatch.setattr(estimate, "CORPUS_SHARE", 1e6)
    whole = forecast(tmp_path, base_folder, reviews, distill={"general": general})
    monkeypatch.setattr(estimate, "CORPUS_SHARE", -1.0)
    partial = forecast(tmp_path, base_folder, reviews, distill={"general": general})
    first, second = (next(s for s in each.stages if s.name == "general") for each in (whole, partial))
    assert first.extrapolated is None or "corpus" not in first.extrapolated
    assert "from the first 10 texts of its corpus" in second.extrapolated
    assert second.num_steps == pytest.approx(first.num_steps, rel=0.1)


def test_the_printed_plan(plain, capsys):
    stages = [replace(plain.stages[0], estimated_s=130.0, maximum_s=181.0, extrapolated="from batches of 2 rows")]
    choice = Choice(key="teacher.fine_tune.epochs", value="5", reason="775 steps for 4,949 rows")
    run_text.plan(
        replace(
            plain,
            stages=stages,
            estimated_s=540.0,
            maximum_s=829.0,
            choices=[choice],
            warnings=["1.3 of 2 cores are busy"],
        )
    )
    out = capsys.readouterr().out
    assert "teacher.fine_tune.epochs: 5 (775 steps for 4,949 rows)" in out
    assert f"{stages[0].name}: estimated from batches of 2 rows" in out
    row = next(line for line in out.splitlines() if line.startswith(f"{stages[0].name} "))
    assert row.split()[-4:] == ["2", "min", "4", "min"]
    assert "about 9 min, at most 14 min in total" in out
    assert "warning: 1.3 of 2 cores are busy" in out
    assert "(all " in out


def test_a_maximum_is_rounded_up():
    assert time_phrase(59.6, 60.2) == "about 60 s, at most 61 s"
    assert time_phrase(121, 121) == "about 2 min, at most 3 min"
    assert time_phrase(9000, 9001) == "about 2.5 h, at most 2.6 h"
