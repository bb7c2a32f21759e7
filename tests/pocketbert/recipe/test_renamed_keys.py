"""Old names of recipe keys work in this version, wherever a recipe comes from, with one warning for each use."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from compress.common.errors import UserError
from pocketbert.cli import app
from pocketbert.pipeline.flow import prepare
from pocketbert.pipeline.plan import plan_of
from pocketbert.recipe.loading import built_in, load_recipe, to_yaml
from pocketbert.recipe.renamed_keys import new_path, rename_keys
from pocketbert.recipe.schema import recipe_schema
from pocketbert.recipe.sections import Recipe

BY_0_2_0 = Path(__file__).with_name("resolved_by_0_2_0.yaml")
START = "name: x\ntask: {data: x.csv}\nteacher: {base: b}\nstudent: {preset: tinybert4}\n"
OLD = START + (
    "training:\n  precision: fp32\n  compile: true\n"  # from line 5
    "augment:\n  probability: 0.3\n  variants: 7\n"
    "bench: {limits: false, rounds: 3}\n"
)
NEW = OLD.replace("training", "compute").replace("variants", "copies_per_text").replace("limits", "roofline")


@pytest.fixture
def write(tmp_path):
    def call(text: str) -> str:
        (tmp_path / "r.yaml").write_text(text)
        return str(tmp_path / "r.yaml")

    return call


def load(name: str, *changes: str) -> tuple[Recipe, list[str]]:
    """The recipe, and the warnings without the path of its file."""
    warnings: list[str] = []
    recipe = load_recipe(name, changes=changes, on_warning=warnings.append)
    return recipe, [warning.rpartition("/")[2] for warning in warnings]


def mistakes(name: str, *changes: str) -> list[str]:
    with pytest.raises(UserError) as error:
        load(name, *changes)
    return [line.rpartition("/")[2] for line in str(error.value).splitlines()]


def keys_in(recipe: Recipe) -> dict:
    return YAML(typ="safe", pure=True).load(io.StringIO(to_yaml(recipe)))


def test_old_names_in_a_file_give_the_same_recipe_with_a_warning_each(write):
    expected, no_warnings = load(write(NEW))
    assert no_warnings == []
    recipe, warnings = load(write(OLD))
    assert recipe == expected and recipe.compute.compile
    assert warnings == [
        "r.yaml, line 5: training is now compute; the old name works in 0.3 to 0.6 only",
        "r.yaml, line 10: augment.variants is now augment.copies_per_text; the old name works in 0.3 to 0.6 only",
        "r.yaml, line 11: bench.limits is now bench.roofline; the old name works in 0.3 to 0.6 only",
    ]


def test_a_resolved_recipe_has_the_new_names_only(write):
    keys = keys_in(load(write(OLD))[0])
    assert keys["augment"]["copies_per_text"] == 7 and keys["compute"]["precision"] == "fp32"
    assert keys["bench"]["roofline"] is False
    assert rename_keys(keys).renamed == [] and rename_keys(keys).content == keys


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("augment.variants=5", ("augment", "copies_per_text"), 5),
        ("augment={variants: 5, probability: 0.5}", ("augment", "copies_per_text"), 5),
        ("training.precision=fp32", ("compute", "precision"), "fp32"),
        ("training={precision: fp32}", ("compute", "precision"), "fp32"),
        ("bench.limits=false", ("bench", "roofline"), False),
        ("bench={limits: false}", ("bench", "roofline"), False),
    ],
)
def test_old_names_in_set(change, key, value):
    recipe, (warning,) = load("sst2", change)
    assert getattr(getattr(recipe, key[0]), key[1]) == value
    assert warning.startswith(f"sst2.yaml, --set {change}: ") and "the old name works in 0.3 to 0.6 only" in warning
    assert load("sst2", ".".join(key) + f"={value}".lower())[0].model_dump()[key[0]][key[1]] == value


def test_set_overrides_either_name_by_either_name(write):
    """An override is no conflict: it may use another name than the file, and the last one counts."""
    assert load(write(OLD), "augment.copies_per_text=3", "compute.compile=false")[0].augment.copies_per_text == 3
    recipe, warnings = load(write(NEW), "training.compile=false", "augment.variants=2", "augment.copies_per_text=4")
    assert recipe.augment.copies_per_text == 4 and len(warnings) == 2
    assert (recipe.compute.precision, recipe.compute.compile) == ("fp32", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "augment: {copies_per_text: 3,\n  variants: 7}\n",
            "r.yaml, line 6: augment.variants: is the old name of augment.copies_per_text, which is also given in line "
            "5; remove the old one",
        ),
        (
            "training: {precision: fp32}\ncompute: {compile: true}\n",
            "r.yaml, line 5: training: is the old name of compute, which is also given in line 6; remove the old one",
        ),
        (
            "bench:\n  limits: true\n  roofline: true\n",
            "r.yaml, line 6: bench.limits: is the old name of bench.roofline, which is also given in line 7; "
            "remove the old one",
        ),
    ],
)
def test_both_names_are_one_mistake_with_both_lines(write, text, expected):
    assert mistakes(write(START + text)) == [expected]


def test_both_names_in_a_set_are_a_mistake(write):
    change = "augment={variants: 5, copies_per_text: 6}"
    (message,) = mistakes(write(START), change)
    assert message.startswith(f"r.yaml, --set {change}: augment.variants: is the old name of augment.copies_per_text")


def test_mistakes_in_a_renamed_section_have_lines_and_suggestions(write):
    text = "training:\n  precison: fp32\n  compile: 3\naugment:\n  variants: many\n  variants: 3\n"
    assert mistakes(write(START + text)) == [
        "r.yaml, line 6: compute.precison: unknown key; did you mean precision?",
        "r.yaml, line 7: compute.compile: got 3; expected true or false",
        "r.yaml, line 9: augment.variants: duplicate key, also in line 10; remove one of them",
        "r.yaml, line 10: augment.copies_per_text: got 'many'; expected a whole number",
    ]
    (message,) = mistakes(write(START + "augment:\n  variants: many\n"))
    assert message == "r.yaml, line 6: augment.copies_per_text: got 'many'; expected a whole number"
    assert mistakes(write(START), "training=3") == [
        "r.yaml, --set training=3: compute: got 3; expected keys and values"
    ]


def test_a_misspelt_old_name_leads_to_the_new_one(write):
    (message,) = mistakes(write(START + "trainings: {precision: fp32}\n"))
    assert message == "r.yaml, line 5: trainings: unknown key; did you mean compute?"
    (message,) = mistakes(write(START + "augment: {variant: 3}\n"))
    assert message == "r.yaml, line 5: augment.variant: unknown key; did you mean copies_per_text?"


@pytest.mark.parametrize(
    ("text", "num_warnings"),
    [
        ("distill: {intermediate: &same {epochs: 7}, prediction: *same}\ntraining: &t {precision: fp32}\n", 1),
        ("augment: &a {variants: 7}\nbench: &b {limits: false}\n", 2),
        ("bench: {fixed_batches: &sizes [2, 4], limits: &no false, thread_sweep: *no}\n", 1),
    ],
)
def test_anchors_and_aliases(write, text, num_warnings):
    recipe, warnings = load(write(START + text))
    assert len(warnings) == num_warnings and "line" in warnings[0]
    assert recipe == load(write(to_yaml(recipe)))[0]


def test_an_alias_of_a_section_keeps_its_old_names(write):
    (message,) = mistakes(write("extra: &a {variants: 7}\naugment: *a\n" + START))
    assert message.startswith("r.yaml, line 1: extra: unknown key")
    shared = {"variants": 7}
    renamed = rename_keys({"augment": shared, "extra": shared})
    assert renamed.content == {"augment": {"copies_per_text": 7}, "extra": {"variants": 7}}
    assert shared == {"variants": 7}


def test_a_merge_key_brings_an_old_name(write):
    text = START.replace("{preset: tinybert4}", "{preset: tinybert4}\nbench: {<<: &b {limits: false}, rounds: 3}")
    recipe, warnings = load(write(text))
    assert not recipe.bench.roofline and recipe.bench.rounds == 3
    assert warnings == ["r.yaml, line 5: bench.limits is now bench.roofline; the old name works in 0.3 to 0.6 only"]


BENCH_OF_0_2_0 = (  # its defaults, which its resolved recipes hold; today the effort decides them
    "bench={rounds: 12, warm_up_s: 5.0, compiled_teacher: true, restart_every: 2, roofline: true, fixed_batches: [16]}"
)


FULL_RANGE = "export.reduce_range=false"  # its default
# its defaults; today the numbers of heads decide them
LOSSES = ["distill.intermediate.attention=1.0", "distill.intermediate.relations=0.0"]


def test_the_recipe_of_a_run_folder_of_0_2_0_loads():
    recipe, warnings = load(str(BY_0_2_0))
    assert recipe == load("sst2", BENCH_OF_0_2_0, FULL_RANGE, *LOSSES)[0] and len(warnings) == 3
    assert load(str(BY_0_2_0), "compute.precision=bf16")[0].compute.precision == "bf16"


def test_the_recipe_of_a_run_folder_of_0_2_0_plans_the_same_stages(tmp_path, monkeypatch, reviews, base_folder, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    changes = [f"task.data={reviews}", "task.subset=null", "task.text=text", f"teacher.base={base_folder}"]
    changes += ["student={layers: 2, width: 16, ffn_width: 32, heads: 4}", "task.max_length=32", "augment.vectors=null"]
    changes += ["augment.masked_lm.train_head={corpus: task, max_length: 32}"]
    options = [part for change in changes for part in ("--set", change)]
    assert app.main(["check", str(BY_0_2_0), "--smoke", *options]) == 0
    captured = capsys.readouterr()
    warnings = [line for line in captured.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 3 and "masked_lm" in captured.out
    fingerprints = []
    for name, bench in ((str(BY_0_2_0), []), ("sst2", [BENCH_OF_0_2_0, FULL_RANGE, *LOSSES])):
        recipe = load(name, *changes, *bench)[0]
        fingerprints.append([stage.fingerprint for stage in plan_of(recipe, prepare(recipe, Console(quiet=True)))])
    assert fingerprints[0] == fingerprints[1]


def test_each_warning_is_one_line_on_stderr(write, capsys):
    load_recipe(write(OLD), changes=["augment.variants=5"])
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 4 and captured.out == ""
    assert all(line.startswith("warning: ") for line in lines)
    assert all(line.endswith("the old name works in 0.3 to 0.6 only") for line in lines)


def test_built_in_recipes_have_the_new_names():
    for name in built_in():
        assert load(name)[1] == []


def test_paths_under_the_new_names():
    assert new_path(("training", "precision")) == ("compute", "precision")
    assert new_path(("export", "variants")) == ("export", "variants")


def test_the_schema_has_the_old_names_as_deprecated_properties():
    schema = recipe_schema()
    deprecated = {
        (title, key)
        for title, part in [("", schema), *schema["$defs"].items()]
        for key, value in part["properties"].items()
        if value.get("deprecated")
    }
    assert deprecated == {("", "training"), ("AugmentSection", "variants"), ("BenchSection", "limits")}
    old, new = (schema["$defs"]["AugmentSection"]["properties"][key] for key in ("variants", "copies_per_text"))
    assert (old["type"], old["exclusiveMinimum"]) == (new["type"], new["exclusiveMinimum"]) and "default" not in old
    assert old["description"] == "Old name of copies_per_text; works in version 0.3 to 0.6 only"
