import json

import pytest

from compress.common.errors import UserError
from pocketbert.recipe.loading import built_in, load_recipe, summary_of, to_yaml
from pocketbert.recipe.sections import Recipe
from tiny_bert import rows, write_csv

SOUND = """\
name: sound
task: {data: x.csv}
teacher: {base: folder}
student: {preset: tinybert4}
"""


@pytest.fixture
def write(tmp_path):
    def call(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return str(path)

    return call


def mistakes(name: str, **options: object) -> list[str]:
    with pytest.raises(UserError) as told:
        load_recipe(name, **options)
    return str(told.value).splitlines()


def test_yaml_is_read_as_1_2(write):
    text = SOUND.replace("{data: x.csv}", "{data: x.csv, label: no, labels: [yes, off]}")
    recipe = load_recipe(write(text + "distill: {prediction: {learning_rate: 3e-4}}\n"))
    assert recipe.task.label == "no" and recipe.task.labels == ["yes", "off"]
    assert recipe.distill.prediction.learning_rate == 3e-4


def test_all_mistakes_are_told_at_once_each_with_its_line_in_order(write):
    found = mistakes(
        write(
            "name: a b\nseed: -1\ntask:\n  data: x.csv\n  data: y.csv\n  metrik: f1\n  metric: acuracy\n"
            "teacher: {}\nstudent: {preset: tinybert4, layers: 3}\ndistill:\n  prediction: {epochs: '3'}\nbach: 3\n"
        )
    )
    lines = [int(line.partition(", line ")[2].partition(":")[0]) for line in found]
    assert lines == [1, 2, 4, 6, 7, 8, 9, 11, 12]
    keys = [line.split(": ")[1] for line in found]
    assert keys == [
        "name", "seed", "task.data", "task.metrik", "task.metric", "teacher", "student", "distill.prediction.epochs",
        "bach",
    ]  # fmt: skip
    assert "again in line 5" in found[2]
    assert found[3].endswith("unknown key; did you mean metric?")
    assert found[4].endswith("did you mean accuracy?")
    assert found[7].endswith("got '3'; expected a whole number")
    assert found[8].endswith("did you mean bench?")


def test_a_key_in_the_wrong_section_is_led_to_its_own(write):
    (found,) = mistakes(write(SOUND + "temperature: 2.0\n"))
    assert found.endswith("temperature: unknown key; it belongs elsewhere: distill.prediction.temperature")


def test_what_is_missing_says_what_it_would_be(write):
    found = mistakes(write("name: x\nteacher: {base: b}\nstudent: {preset: tinybert4}\ntask: {text: [a]}\n"))
    assert len(found) == 1 and "line 4: task.data: missing; expected: A local file" in found[0]


def test_an_alias_that_holds_itself_or_many_times_the_same_does_no_harm(write):
    many = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 9))
    found = mistakes(write(f"x0: &x0 [lol]\n{many}"))
    assert sum("unknown key" in line for line in found) == 9
    assert any("unknown key" in line for line in mistakes(write(SOUND + "a: &a [*a]\n")))


def test_set_lays_values_over_the_file(write):
    changes = ["distill.prediction.epochs=1", "task.text=[a, b]", "gate.require=[fp32]", "name=other"]
    recipe = load_recipe(write(SOUND), changes=changes)
    assert recipe.distill.prediction.epochs == 1 and recipe.task.text == ["a", "b"]
    assert recipe.gate.require == ["fp32"] and recipe.name == "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distill.prediction.epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("name.first=x", "name holds no keys, it is 'sound'"),
        ("seed=[", "the value is not readable as YAML"),
        ("seed=x", "--set seed=x: seed: got 'x'; expected a whole number"),
        ("distill.predicton.epochs=3", "distill.predicton: unknown key; did you mean prediction?"),
    ],
)
def test_a_bad_set_is_told(write, change, message):
    assert message in mistakes(write(SOUND), changes=[change])[0]


def test_smoke_shrinks_every_stage_and_twice_changes_nothing(write):
    text = SOUND + "distill: {general: {corpus: task, max_steps: 3}}\ngate: {require: [fp32]}\n"
    once = load_recipe(write(text), smoke=True)
    assert once.name == "sound-smoke" and once.smoke and once.gate.require == []
    assert once.task.max_rows == 200 and once.distill.general.max_steps == 3
    for stage in (once.teacher.fine_tune, once.distill.intermediate, once.distill.prediction):
        assert (stage.epochs, stage.max_steps, stage.batch_size) == (1, 4, 8)
    assert load_recipe(write(to_yaml(once))) == once
    assert load_recipe(write(to_yaml(once)), smoke=True) == once


def test_a_recipe_written_out_reads_back_the_same(write):
    for path in built_in().values():
        recipe = load_recipe(str(path))
        assert load_recipe(write(to_yaml(recipe))) == recipe


def test_every_built_in_recipe_says_in_a_line_what_it_is():
    lines = {name: summary_of(path) for name, path in built_in().items()}
    assert len(lines) == 10
    assert all(20 < len(line) < 110 for line in lines.values())


def test_the_schema_describes_every_key(command):
    found = json.loads(command("schema").stdout)
    assert found["$schema"].endswith("2020-12/schema") and found["additionalProperties"] is False
    assert set(found["properties"]) == set(Recipe.model_fields)
    assert found["$defs"]["TaskSection"]["properties"]["metric"]["enum"][0] == "accuracy"


def test_new_finds_columns_labels_and_lengths_and_its_recipe_reads(command, tmp_path, base_folder):
    lines = [(index, text, label) for index, (text, label) in enumerate(rows(60))]
    write_csv(tmp_path / "my reviews.csv", ("number", "body", "verdict"), lines)
    found = command("new", "my reviews.csv", "--teacher", base_folder)
    assert found.returncode == 0, found.stderr
    recipe = load_recipe(str(tmp_path / "my-reviews.yaml"))
    assert (recipe.task.text, recipe.task.label, recipe.task.max_length) == (["body"], "verdict", 16)
    assert "2 classes (" in found.stdout and "60 rows with the columns number, body, verdict" in found.stdout
    assert (recipe.student.layers, recipe.student.width, recipe.student.heads) == (2, 16, 4)
    code = [line for line in (tmp_path / "my-reviews.yaml").read_text().splitlines() if line.strip() and line[0] != "#"]
    assert len(code) <= 15

    again = command("new", "my reviews.csv", "--teacher", base_folder)
    assert again.returncode == 2 and "is there already" in again.stderr


def test_new_takes_pairs_and_numbers(command, tmp_path, base_folder):
    lines = [(text, text[::-1], index / 7) for index, (text, _) in enumerate(rows(40))]
    write_csv(tmp_path / "pairs.csv", ("sentence1", "sentence2", "score"), lines)
    assert command("new", "pairs.csv", "--teacher", base_folder).returncode == 0
    task = load_recipe(str(tmp_path / "pairs.yaml")).task
    assert (task.text, task.label, task.metric) == (["sentence1", "sentence2"], "score", "pearson_spearman")


def test_a_change_of_one_section_leaves_another_that_repeats_it_by_an_alias(tmp_path):
    path = tmp_path / "alias.yaml"
    path.write_text(
        "name: x\ntask: {data: x.csv}\nteacher: {base: b}\nstudent: {preset: tinybert4}\n"
        "distill:\n  intermediate: &same {epochs: 7}\n  prediction: *same\n"
    )
    distill = load_recipe(str(path), changes=["distill.prediction.epochs=1"]).distill
    assert (distill.intermediate.epochs, distill.prediction.epochs) == (7, 1)


@pytest.mark.parametrize("change", ["seed=2024-13-45", "seed=!!int x", "seed=[", "seed"])
def test_a_change_that_cannot_be_read_is_told(change):
    with pytest.raises(UserError, match=r"^--set seed"):
        load_recipe("quickstart", changes=[change])


def test_a_resolved_recipe_reads_as_itself(tmp_path):
    for changes in ([], ["teacher.model=somewhere"], ["bench.fixed_lengths=[8]"]):
        recipe = load_recipe("sst2", changes=changes)
        path = tmp_path / "resolved.yaml"
        path.write_text(to_yaml(recipe))
        assert load_recipe(str(path)) == recipe
        assert load_recipe(str(path), smoke=True) == load_recipe("sst2", changes=changes, smoke=True)


def test_the_schema_takes_what_the_reader_takes():
    text = Recipe.model_json_schema()["$defs"]["TaskSection"]["properties"]["text"]
    assert {option["type"] for option in text["anyOf"]} == {"string", "array"}


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        (("rating", "label", "review"), (4, "good", "text"), "label"),  # by the order of the usual names
        (("topic", "kind", "body"), ("text", "x", "longer text"), "kind"),  # a usual name whose values never repeat
    ],
)
def test_new_looks_at_what_a_label_column_holds(command, tmp_path, base_folder, header, line, expected):
    lines = [
        tuple(f"{cell} {index}" if cell.endswith("text") else f"{cell}{index % 2}" for cell in map(str, line))
        for index in range(40)
    ]
    write_csv(tmp_path / "t.csv", header, lines)
    assert command("new", "t.csv", "--teacher", base_folder).returncode == 0
    assert load_recipe(str(tmp_path / "t.yaml")).task.label == expected


def test_new_reads_other_encodings_and_checks_the_columns_it_is_given(command, tmp_path, base_folder):
    content = "text,label\n" + "".join(f"na\xefve film {index},{index % 2}\n" for index in range(40))
    (tmp_path / "t.csv").write_bytes(content.encode("cp1252"))
    found = command("new", "t.csv", "--teacher", base_folder)
    assert found.returncode == 2 and "not utf-8 text" in found.stderr and "--encoding" in found.stderr
    assert command("new", "t.csv", "--teacher", base_folder, "--encoding", "cp1252").returncode == 0
    assert load_recipe(str(tmp_path / "t.yaml")).task.encoding == "cp1252"
    for options in (["--text", "label"], ["--text", "text", "--text", "label", "--text", "other"]):
        found = command("new", "t.csv", "--teacher", base_folder, "--encoding", "cp1252", "--label", "label", *options)
        assert found.returncode == 2 and found.stderr.startswith("error: t.csv:"), found.stderr
