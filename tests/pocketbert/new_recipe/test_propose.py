"""The recipe that `pocketbert new` writes, and the facts that it prints."""

import pytest

from pocketbert.cli import app
from pocketbert.new_recipe.propose import propose_recipe
from pocketbert.recipe.loading import built_in, load_recipe
from tiny_bert import rows, write_csv

LARGEST = 19  # lines of a recipe


@pytest.fixture
def written(tmp_path, base_folder):
    """Proposes a recipe for a table of texts and labels, and loads it."""

    def write(lines: list[tuple], **options):
        write_csv(tmp_path / "t.csv", ("text", "label"), lines)
        proposal = propose_recipe(tmp_path / "t.csv", teacher=str(base_folder), **options)
        path = tmp_path / "r.yaml"
        path.write_text(proposal.recipe, encoding="utf-8")
        return proposal, load_recipe(str(path))

    return write


def test_a_recipe_is_short_and_leaves_rates_and_epochs_to_the_run(written):
    proposal, recipe = written(rows(60))
    lines = proposal.recipe.splitlines()
    assert len(lines) <= LARGEST and all(len(line) < 200 for line in lines)
    assert not any(word in proposal.recipe for word in ("epochs:", "learning_rate:", "batch_size:"))
    assert (recipe.gate.require, recipe.bench.effort) == (["int8-static"], "quick")
    assert "distill" not in recipe.model_fields_set and "fine_tune" not in recipe.teacher.model_fields_set


def test_the_template_has_the_keys_of_a_new_recipe(written):
    _, recipe = written(rows(60))
    template = load_recipe(str(built_in()["own-csv"]))
    assert template.model_fields_set == recipe.model_fields_set
    assert template.task.model_fields_set == recipe.task.model_fields_set
    assert (template.gate, template.bench) == (recipe.gate, recipe.bench)
    assert len(built_in()["own-csv"].read_text(encoding="utf-8").splitlines()) <= LARGEST


def test_a_rare_class_becomes_the_positive_one(written):
    lines = [(f"{text} {index}", int(index % 20 == 0)) for index, (text, _) in enumerate(rows(200))]
    proposal, recipe = written(lines)
    assert (recipe.task.metric, recipe.task.positive) == ("f1", "1")
    assert any(fact.startswith("metric: f1 of 1; 1 is rare") for fact in proposal.table_facts)


def test_whole_numbers_are_classes_and_the_alternative_is_named(written):
    lines = [(f"{text} {index}", index % 5 + 1) for index, (text, _) in enumerate(rows(100))]
    proposal, recipe = written(lines)
    assert recipe.task.metric == "accuracy"
    assert any("task.metric: pearson_spearman" in fact for fact in proposal.table_facts)
    proposal, recipe = written([(text, index / 7) for index, (text, _) in enumerate(rows(100))])
    assert recipe.task.metric == "pearson_spearman"
    assert any(fact.startswith("labels: numbers from 0 to 14.1429") for fact in proposal.table_facts)


@pytest.mark.parametrize("label", ["yes", "a: b", "#x", "1e3", "null", "two\nlines", "'", '"', "{a}", "\u00e9\u2028"])
def test_every_label_can_be_the_positive_class(written, label):
    lines = [(f"{text} {index}", "other" if index % 10 else label) for index, (text, _) in enumerate(rows(100))]
    _, recipe = written(lines)
    assert recipe.task.positive == label.strip()


def test_a_table_with_too_few_rows_is_described_with_a_caution(written):
    proposal, _ = written([("the film", "a"), ("the cast", "b"), ("the plot", "a")])
    assert any(fact.startswith("caution: t: the dev split is empty") for fact in proposal.table_facts)
    assert not any(fact.startswith("a run uses") for fact in proposal.table_facts)


def test_the_command_prints_the_facts_and_the_next_step(tmp_path, monkeypatch, capsys, base_folder):
    (tmp_path / "films").mkdir()
    for seed, name in enumerate(("train.csv", "dev.csv", "test.csv")):
        write_csv(tmp_path / "films" / name, ("text", "label"), rows(40, seed))
    monkeypatch.chdir(tmp_path)
    assert app.main(["new", "films", "--teacher", str(base_folder)]) == 0
    printed = capsys.readouterr().out
    for fact in (
        "train, dev, test: comma-separated",
        "a run uses ",
        "2 classes (",
        "tokens: median",
        "max_length 16: ",
    ):
        assert fact in printed
    assert printed.splitlines()[-1] == "next   pocketbert check films.yaml"
    assert load_recipe("films.yaml").task.data == "films"
