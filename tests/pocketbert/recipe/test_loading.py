import json

import pytest

from compress.common.errors import UserError
from pocketbert.recipe.loading import built_in, load_recipe, summary_of, to_yaml
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import RecipeSection
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
    with pytest.raises(UserError) as error:
        load_recipe(name, **options)
    return str(error.value).splitlines()


def test_yaml_is_read_as_1_2(write):
    text = SOUND.replace("{data: x.csv}", "{data: x.csv, label: no, labels: [yes, off]}")
    recipe = load_recipe(write(text + "distill: {prediction: {learning_rate: 3e-4}}\n"))
    assert recipe.task.label == "no" and recipe.task.labels == ["yes", "off"]
    assert recipe.distill.prediction.learning_rate == 3e-4


def test_all_mistakes_are_reported_at_once_in_order_of_their_lines(write):
    messages = mistakes(
        write(
            "name: a b\nseed: -1\ntask:\n  data: x.csv\n  data: y.csv\n  metrik: f1\n  metric: acuracy\n"
            "teacher: {}\nstudent: {preset: tinybert4, layers: 3}\ndistill:\n  prediction: {epochs: '3'}\nbach: 3\n"
        )
    )
    lines = [int(message.partition(", line ")[2].partition(":")[0]) for message in messages]
    assert lines == [1, 2, 4, 6, 7, 8, 9, 11, 12]
    keys = [message.split(": ")[1] for message in messages]
    assert keys == [
        "name", "seed", "task.data", "task.metrik", "task.metric", "teacher", "student", "distill.prediction.epochs",
        "bach",
    ]  # fmt: skip
    assert "duplicate key, also in line 5" in messages[2]
    assert messages[3].endswith("unknown key; did you mean metric?")
    assert messages[4].endswith("did you mean accuracy?")
    assert messages[7].endswith("got '3'; expected a whole number")
    assert messages[8].endswith("did you mean bench?")


def test_an_unknown_key_of_another_section_names_that_section(write):
    (message,) = mistakes(write(SOUND + "temperature: 2.0\n"))
    assert message.endswith("temperature: unknown key; it belongs elsewhere: distill.prediction.temperature")


def test_a_missing_key_is_described(write):
    messages = mistakes(write("name: x\nteacher: {base: b}\nstudent: {preset: tinybert4}\ntask: {text: [a]}\n"))
    assert len(messages) == 1 and "line 4: task.data: missing; expected: A local file" in messages[0]


def test_recursive_aliases_and_exponential_ones_do_no_harm(write):
    many = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 9))
    (message,) = mistakes(write(f"x0: &x0 [lol]\n{many}"))
    assert "too many values; expected at most 5,000 keys and values, aliases expanded" in message
    (message,) = mistakes(write(SOUND + "a: &a [*a]\n"))
    assert "an alias refers to a value that contains it" in message


def test_set_overrides_the_file(write):
    changes = ["distill.prediction.epochs=1", "task.text=[a, b]", "gate.require=[fp32]", "name=other"]
    recipe = load_recipe(write(SOUND), changes=changes)
    assert recipe.distill.prediction.epochs == 1 and recipe.task.text == ["a", "b"]
    assert recipe.gate.require == ["fp32"] and recipe.name == "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distill.prediction.epochs", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("name.first=x", "name has no keys: it is 'sound'"),
        ("seed=[", "--set seed=[, line 1: not readable as YAML"),
        ("seed=x", "--set seed=x: seed: got 'x'; expected a whole number"),
        ("distill.predicton.epochs=3", "distill.predicton: unknown key; did you mean prediction?"),
    ],
)
def test_a_bad_set_is_reported(write, change, message):
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


def test_every_built_in_recipe_has_a_summary_of_one_line():
    lines = {name: summary_of(path) for name, path in built_in().items()}
    assert len(lines) == 10
    assert all(20 < len(line) < 110 for line in lines.values())


def test_the_schema_describes_every_key(command):
    schema = json.loads(command("schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema") and schema["additionalProperties"] is False
    deprecated = {key for key, value in schema["properties"].items() if value.get("deprecated")}
    assert set(schema["properties"]) - deprecated == set(Recipe.model_fields) and deprecated == {"training"}
    assert schema["$defs"]["TaskSection"]["properties"]["metric"]["enum"][0] == "accuracy"


def sections_of(section: type[RecipeSection]) -> set[type[RecipeSection]]:
    below = section.__subclasses__()
    return {*below}.union(*map(sections_of, below))


def test_every_key_has_a_description_of_one_sentence():
    keys = [
        (section, name, field) for section in sections_of(RecipeSection) for name, field in section.model_fields.items()
    ]
    assert len(keys) > 120
    for section, name, field in keys:
        assert field.description and field.description[0].isupper(), (section, name)
        assert ". " not in field.description and field.description[-1] != ".", (section, name)


def test_new_detects_columns_labels_and_lengths_and_its_recipe_loads(command, tmp_path, base_folder):
    lines = [(index, text, label) for index, (text, label) in enumerate(rows(60))]
    write_csv(tmp_path / "my reviews.csv", ("number", "body", "verdict"), lines)
    done = command("new", "my reviews.csv", "--teacher", base_folder)
    assert done.returncode == 0, done.stderr
    recipe = load_recipe(str(tmp_path / "my-reviews.yaml"))
    assert (recipe.task.text, recipe.task.label, recipe.task.max_length) == (["body"], "verdict", 16)
    assert "2 classes (" in done.stdout and "60 rows with the columns number, body, verdict" in done.stdout
    assert (recipe.student.layers, recipe.student.width, recipe.student.heads) == (2, 16, 4)
    code = [line for line in (tmp_path / "my-reviews.yaml").read_text().splitlines() if line.strip() and line[0] != "#"]
    assert len(code) <= 15

    again = command("new", "my reviews.csv", "--teacher", base_folder)
    assert again.returncode == 2 and "already exists" in again.stderr


def test_new_takes_pairs_and_numbers(command, tmp_path, base_folder):
    lines = [(text, text[::-1], index / 7) for index, (text, _) in enumerate(rows(40))]
    write_csv(tmp_path / "pairs.csv", ("sentence1", "sentence2", "score"), lines)
    assert command("new", "pairs.csv", "--teacher", base_folder).returncode == 0
    task = load_recipe(str(tmp_path / "pairs.yaml")).task
    assert (task.text, task.label, task.metric) == (["sentence1", "sentence2"], "score", "pearson_spearman")


def test_set_of_one_section_leaves_its_alias_unchanged(tmp_path):
    path = tmp_path / "alias.yaml"
    path.write_text(
        "name: x\ntask: {data: x.csv}\nteacher: {base: b}\nstudent: {preset: tinybert4}\n"
        "distill:\n  intermediate: &same {epochs: 7}\n  prediction: *same\n"
    )
    distill = load_recipe(str(path), changes=["distill.prediction.epochs=1"]).distill
    assert (distill.intermediate.epochs, distill.prediction.epochs) == (7, 1)


@pytest.mark.parametrize("change", ["seed=2024-13-45", "seed=!!int x", "seed=[", "seed"])
def test_a_set_that_cannot_be_read_is_reported(change):
    with pytest.raises(UserError, match=r"^--set seed"):
        load_recipe("quickstart", changes=[change])


def test_a_resolved_recipe_loads_as_itself(tmp_path):
    for changes in ([], ["teacher.model=somewhere", "teacher.fine_tune=auto"], ["bench.fixed_lengths=[8]"]):
        recipe = load_recipe("sst2", changes=changes)
        path = tmp_path / "resolved.yaml"
        path.write_text(to_yaml(recipe))
        assert load_recipe(str(path)) == recipe
        assert load_recipe(str(path), smoke=True) == load_recipe("sst2", changes=changes, smoke=True)


def test_the_schema_allows_what_loading_allows():
    text = Recipe.model_json_schema()["$defs"]["TaskSection"]["properties"]["text"]
    assert {option["type"] for option in text["anyOf"]} == {"string", "array"}


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        (("rating", "label", "review"), (4, "good", "text"), "label"),  # in the order of the usual names
        (("topic", "kind", "body"), ("text", "x", "longer text"), "kind"),  # a usual name whose values never repeat
    ],
)
def test_new_checks_the_values_of_a_label_column(command, tmp_path, base_folder, header, line, expected):
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
    done = command("new", "t.csv", "--teacher", base_folder)
    assert done.returncode == 2 and "not utf-8 text" in done.stderr and "--encoding" in done.stderr
    assert command("new", "t.csv", "--teacher", base_folder, "--encoding", "cp1252").returncode == 0
    assert load_recipe(str(tmp_path / "t.yaml")).task.encoding == "cp1252"
    for options in (["--text", "label"], ["--text", "text", "--text", "label", "--text", "other"]):
        done = command("new", "t.csv", "--teacher", base_folder, "--encoding", "cp1252", "--label", "label", *options)
        assert done.returncode == 2 and done.stderr.startswith("error: t.csv:"), done.stderr


def test_weights_by_layer_are_written_as_they_are(write, recwarn):
    weights = "distill: {layer_map: [1, 3], intermediate: {hidden: [0, 1], relations: [0.5, 1]}}\n"
    recipe = load_recipe(write(SOUND + weights))
    assert load_recipe(write(to_yaml(recipe))) == recipe
    assert recipe.model_dump()["distill"]["intermediate"]["hidden"] == [0, 1]
    assert recipe.distill.layer_map == [1, 3] and not recwarn.list
