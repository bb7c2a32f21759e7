"""The effort of a recipe's benchmark, and the keys that win over it."""

import pytest

from bench.timing.effort import settings_of
from compress.common.errors import UserError
from pocketbert.recipe.delivery import BenchSection
from pocketbert.recipe.loading import load_recipe, to_yaml
from pocketbert.recipe.schema import recipe_schema
from pocketbert.recipe.sections import Recipe, grid_of
from pocketbert.recipe.smoke import smoke_recipe
from pocketbert.standalone.bench_models import BenchRequest, ModelOutputs
from pocketbert.timing.bench_duration import benchmark_seconds_of

EXPLICIT = {  # as in recipes that an earlier version resolved
    "rounds": 12,
    "warm_up_s": 5.0,
    "compiled_teacher": True,
    "restart_every": 2,
    "roofline": True,
    "fixed_batches": [16],
}


def recipe_with(**bench: object) -> Recipe:
    return load_recipe("own-csv").model_copy(update={"bench": BenchSection.model_validate(bench)})


def test_the_default_is_standard():
    assert BenchSection().settings() == settings_of("standard")


@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_every_explicit_key_wins_over_the_effort(effort):
    settings = BenchSection.model_validate({"effort": effort, **EXPLICIT, "fixed_lengths": [24]}).settings()
    assert {name: getattr(settings, name) for name in EXPLICIT} == EXPLICIT
    assert settings.fixed_lengths == [24]
    assert settings.texts_per_round == settings_of(effort).texts_per_round


def test_a_false_value_and_an_empty_list_are_explicit():
    thorough = {"effort": "thorough"}
    assert (
        not BenchSection.model_validate({**thorough, "roofline": False, "compiled_teacher": False}).settings().roofline
    )
    assert grid_of(recipe_with(**thorough, fixed_lengths=[])) == []
    assert grid_of(recipe_with(effort="quick", fixed_batches=[4])) == [(4, 32)]
    assert grid_of(recipe_with(effort="quick")) == []


def test_a_recipe_with_explicit_keys_measures_what_it_did_before_there_were_efforts():
    settings = BenchSection.model_validate({**EXPLICIT, "fixed_lengths": [16, 32, 64, 128]}).settings()
    before = settings_of("thorough")
    assert settings.protocol(None, num_threads=1) == before.protocol(None, num_threads=1)
    assert settings.grid(128) == before.grid(128)


@pytest.mark.parametrize("bench", [{"effort": "quick"}, {"effort": "quick", "rounds": 7}, {}])
def test_a_resolved_recipe_has_the_same_benchmark(tmp_path, bench):
    recipe = recipe_with(**bench)
    resolved = tmp_path / "recipe.yaml"
    resolved.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(resolved)).bench == recipe.bench


def test_an_unknown_effort_is_an_error():
    with pytest.raises(UserError, match=r"bench\.effort: got '?quik'?; .*did you mean quick"):
        load_recipe("quickstart", changes=["bench.effort=quik"])


@pytest.mark.parametrize("effort", ["quick", "standard", "thorough"])
def test_a_smoke_run_shrinks_every_effort(effort):
    smoke = smoke_recipe(recipe_with(effort=effort))
    settings = smoke.bench.settings()
    assert (settings.rounds, settings.restart_every, settings.warm_up_s) == (2, 2, 0.2)
    assert not settings.compiled_teacher and not settings.roofline
    assert len(grid_of(smoke)) == (0 if effort == "quick" else 2)
    assert smoke_recipe(smoke) == smoke


def test_the_quickstart_is_quick_and_the_schema_has_the_efforts():
    assert load_recipe("quickstart").bench.effort == "quick"
    effort = recipe_schema()["$defs"]["BenchSection"]["properties"]["effort"]
    assert effort["enum"] == ["quick", "standard", "thorough"] and effort["default"] == "standard"


def test_the_options_of_bench_models_win_over_its_effort():
    quick = BenchRequest(effort="quick", num_threads=1)
    assert (quick.protocol().rounds, quick.protocol().effort, quick.workload(ModelOutputs()).grid) == (3, "quick", [])
    request = BenchRequest(effort="quick", rounds=9, restart_every=4, grid=["1x8"], num_threads=1)
    assert (request.protocol().rounds, request.protocol().restart_every) == (9, 4)
    assert tuple(request.workload(ModelOutputs()).grid) == ((1, 8),)
    assert "--effort quick --threads 1 --rounds 9 --restart-every 4" in " ".join(request.options())


def test_the_estimate_follows_the_recipe():
    def estimate(**bench: object) -> float:
        return benchmark_seconds_of(
            recipe_with(**bench), num_test_rows=500, teacher_ms=8.0, student_ms=2.0, mean_tokens=25.0
        )

    assert estimate(effort="quick") < estimate() < estimate(effort="thorough")
    assert estimate(effort="quick", rounds=12) > estimate(effort="quick")
    assert estimate(thread_sweep=True) > estimate() < estimate(latency_bound_ms=20.0)


@pytest.mark.parametrize("option", ["metric", "positive"])
def test_options_about_labels_need_a_table(option):
    with pytest.raises(UserError, match=f"--{option} accuracy: expected --data too"):
        BenchRequest(num_threads=1, **{option: "accuracy"}).metric_of(ModelOutputs())
