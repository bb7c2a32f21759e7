import pytest
from rich.console import Console

from compress.errors import UserError
from pocketbert.manifest import planned
from pocketbert.pipeline import prepare
from pocketbert.plan import general_plan, plan_of
from pocketbert.recipe import Recipe
from pocketbert.runs import Run, state_of

QUIET = Console(quiet=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make(base_folder, reviews):
    def call(**changes: object) -> Recipe:
        content = {
            "name": "tiny",
            "task": {"data": str(reviews), "max_length": 32},
            "teacher": {"base": str(base_folder)},
            "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4},
            "distill": {"general": {"corpus": "task", "max_length": 32}},
            **changes,
        }
        return Recipe.model_validate(content)

    return call


def fingerprints(recipe: Recipe) -> dict[str, str]:
    return {stage.name: stage.fingerprint for stage in plan_of(recipe, prepare(recipe, QUIET))}


@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"bench": {"rounds": 3}}, {"bench"}),
        ({"export": {"variants": ["fp32"]}}, {"export", "bench"}),
        (
            {"distill": {"general": {"corpus": "task", "max_length": 32}, "prediction": {"epochs": 1}}},
            {"prediction", "export", "bench"},
        ),
        ({"distill": {}}, {"intermediate", "prediction", "export", "bench"}),
        (
            {"student": {"layers": 1, "width": 16, "ffn_width": 32, "heads": 4}},
            {"general", "intermediate", "prediction", "export", "bench"},
        ),
        ({"gate": {"require": ["fp32"]}}, set()),
    ],
)
def test_a_change_does_the_stages_anew_that_depend_on_it_and_no_others(make, changes, redone):
    before, after = fingerprints(make()), fingerprints(make(**changes))
    assert {name for name in after if after[name] != before[name]} == redone


def test_the_general_student_does_not_depend_on_the_task_of_another_corpus(make, tmp_path):
    (tmp_path / "corpus.txt").write_text("a film\n")
    distill = {"general": {"corpus": str(tmp_path / "corpus.txt"), "max_length": 32}}
    first, second = (
        make(distill=distill),
        make(distill=distill, name="other", task={**make().task.model_dump(), "max_rows": 50}),
    )
    assert fingerprints(first)["general"] == fingerprints(second)["general"]
    (alone,) = general_plan(first, prepare(first, QUIET))
    assert alone.fingerprint == fingerprints(first)["general"]


def test_a_general_student_needs_a_corpus_and_a_base(make, teacher_folder):
    recipe = make(distill={})
    with pytest.raises(UserError, match=r"distill\.general is missing"):
        general_plan(recipe, prepare(recipe, QUIET))
    recipe = make(teacher={"model": str(teacher_folder)})
    with pytest.raises(UserError, match=r"teacher\.base is missing"):
        general_plan(recipe, prepare(recipe, QUIET))


@pytest.mark.parametrize("shared", [False, True])
def test_the_state_of_a_stage_is_what_running_would_find(tmp_path, shared):
    stage, folder = planned("first", {"a": 1}, shared=shared), tmp_path / "run"

    def build(work) -> dict:
        assert state_of(stage, folder) == "begun"
        (work.output / "file").write_text("x")
        return {}

    assert state_of(stage, folder) == "to do"
    with Run(folder, versions={}, announce=lambda line: None) as run:
        run.stage(stage, build)
    assert state_of(stage, folder) == "done"
    assert state_of(stage, tmp_path / "another") == ("in the cache" if shared else "to do")
    assert state_of(planned("first", {"a": 2}, shared=shared), folder) == "to do"
    (folder / "first" / "file").write_text("edited")
    assert state_of(stage, folder) == "to do"
