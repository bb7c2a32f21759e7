"""Library errors state the problem. The command line adds the remedy, which exists in the command."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from transformers import BertForSequenceClassification

import command_lines
import compress
import export
from compress.common.errors import Option, Problem, UserError
from pocketbert.cli import app
from pocketbert.cli_parts import remedies
from pocketbert.recipe.sections import Recipe
from tiny_bert import in_a_recipe

LIBRARIES = [Path(str(package.__file__)).parent for package in (compress, export)]
SECTIONS = [name for name, field in Recipe.model_fields.items() if name not in ("name", "seed", "smoke")]
A_KEY = re.compile(rf"\b(?:{'|'.join(SECTIONS)})\.(?=[a-z_]|$)")
A_FLAG = re.compile(r"(?<![\w-])--[a-z]")
ALLOWED = {  # (file, text): errors that may name a key or a flag all the same: predict.py has flags of its own
    ("export/bundle/runtime.py", "; pip install --upgrade "),
    (
        "export/bundle/predict_command.py",
        "--pair: give the first text too; in lines of standard input, a tab separates two texts",
    ),
    ("export/bundle/predict_command.py", "--json-lines: reads standard input; got a text as well"),
    ("export/bundle/predict_command.py", " already; name the new keys with --prefix predicted_"),
}


def texts_of_errors(source: str) -> Iterator[str]:
    """The pieces of text in what a module raises or states as a `Problem`, its constants included."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        raised = isinstance(node, ast.Raise) and node.exc is not None
        if raised or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"):
            for part in ast.walk(node):
                part = constants.get(part.id, part) if isinstance(part, ast.Name) else part
                for piece in ast.walk(part):
                    if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
                        yield piece.value


def paths_in(schema: dict[str, Any], node: dict[str, Any], before: str = "") -> Iterator[str]:
    """The dotted keys of a recipe, by its JSON Schema."""
    for name, each in node.get("properties", {}).items():
        yield f"{before}{name}"
        for form in (each, *each.get("anyOf", [])):
            if "$ref" in form:
                yield from paths_in(schema, schema["$defs"][form["$ref"].rpartition("/")[2]], f"{before}{name}.")


def keys_of_a_recipe() -> set[str]:
    schema = Recipe.model_json_schema()
    return set(paths_in(schema, schema))


def commands() -> dict[str, remedies.Command]:
    return {words: remedies.command_of(command) for words, command in command_lines.commands().items()}


def test_what_the_libraries_raise_names_neither_a_recipe_key_nor_a_flag():
    texts = {
        (str(path.relative_to(folder.parent)), text)
        for folder in LIBRARIES
        for path in folder.rglob("*.py")
        for text in texts_of_errors(path.read_text(encoding="utf-8"))
    }
    assert len(texts) > 150
    named = {(path, text) for path, text in texts if A_KEY.search(text) or A_FLAG.search(text)}
    assert named == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        'raise UserError(f"task.encoding: no encoding {name}")',
        'raise ValueError(f"student.{name} is {value}")',
        'WORDS = "name it with --data"\nraise UserError(f"{path}: {WORDS}")',
        'problem = Problem(text="too long; lower task.max_length")',
        'raise UserError("two lines, " + ("one of them: distill.layer_map" if long else ""))',
    ],
)
def test_the_search_sees_keys_and_flags(source):
    assert any(A_KEY.search(text) or A_FLAG.search(text) for text in texts_of_errors(source))


def test_every_option_can_be_set_and_is_named_by_an_error():
    sources = [path.read_text(encoding="utf-8") for folder in LIBRARIES for path in folder.rglob("*.py")]
    sources.append((LIBRARIES[0].parent / "bench" / "report" / "comparison.py").read_text(encoding="utf-8"))
    for option in get_args(Option):
        assert option in remedies.IN_RECIPES or option in remedies.BY_FLAGS
        assert any(f'option="{option}"' in source for source in sources), option


def test_remedies_in_recipes_name_keys_that_a_recipe_has():
    keys = keys_of_a_recipe()
    assert {"task.encoding", "distill.general.corpus", "augment.masked_lm.train_head.corpus"} <= keys
    for option, remedy in remedies.IN_RECIPES.items():
        text = f"{remedy.key} {remedy.advice}"
        named = {word.strip(".:;,") for word in text.split() if A_KEY.search(word)}
        assert named <= keys, option
        assert (remedy.key in keys or not remedy.key) and not remedies.flags_in(text), option
        assert named or any(key.rpartition(".")[2] in text for key in keys), option


def test_remedies_by_flags_name_flags_of_a_command_and_no_recipe_key():
    known = {flag for command in commands().values() if not command.takes_recipe for flag in command.flags}
    for option, remedy in remedies.BY_FLAGS.items():
        assert remedies.flags_in(remedy.advice) <= known, option
        assert not A_KEY.search(f"{remedy.key} {remedy.advice}"), option


def test_which_commands_take_a_recipe():
    takes_recipe = {name for name, command in commands().items() if command.takes_recipe}
    assert takes_recipe == {
        "run", "check", "general", "augment", "design", "ablate", "bench training", "bench augmentation",
    }  # fmt: skip


def test_a_remedy_that_a_command_does_not_have_is_left_out():
    problem = UserError("t.csv: not utf-8 text", option="encoding")
    assert in_a_recipe(problem) == "t.csv: not utf-8 text; name the right encoding, such as cp1252, as task.encoding"
    printed = {words: remedies.with_remedy(problem, command) for words, command in commands().items()}
    for words in ("export", "new", "predict", "bench models", "bench self-check", "bench peers"):
        assert printed[words] == "t.csv: not utf-8 text; name the right encoding, such as cp1252, with --encoding"
    assert printed["run"] == in_a_recipe(problem) and printed["verify"] == "t.csv: not utf-8 text"
    only_recipes = UserError("too deep", option="layer_map")
    assert {remedies.with_remedy(only_recipes, command) for command in commands().values()} == {
        "too deep",
        "distill.layer_map: too deep",
    }


def test_problems_keep_their_remedies_line_by_line():
    error = UserError.of(
        [Problem(text="a", option="data"), Problem(text="b"), Problem(text="c", option="initialisation")]
    )
    assert str(error) == "a\nb\nc"
    assert in_a_recipe(error) == "task.data: a\nb\nc; use student.initialisation: random"
    assert (
        in_a_recipe(error.within("here")) == "task.data: here: a\nhere: b\nhere: c; use student.initialisation: random"
    )
    assert in_a_recipe(UserError("one\ntwo")) == "one\ntwo"


@pytest.fixture
def latin(tmp_path, reviews) -> Path:
    path = tmp_path / "latin.csv"
    path.write_bytes(reviews.read_bytes() + b"caf\xe9,positive\n")
    return path


@pytest.fixture
def regressor(tmp_path, tokenizer, teacher) -> Path:
    teacher.config.id2label, teacher.config.label2id = {0: "score"}, {"score": 0}
    BertForSequenceClassification(teacher.config).save_pretrained(tmp_path / "regressor")
    tokenizer.save_pretrained(tmp_path / "regressor")
    return tmp_path / "regressor"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["export", "BASE", "--task-data", "REVIEWS"],
            "BASE: not a fine-tuned classifier (its config.json names no ...ForSequenceClassification); name one that "
            "is, such as the folder teacher/model or prediction/model of a run",
        ),
        (["export", "TEACHER", "--task-data", "LATIN"], "; name the right encoding, such as cp1252, with --encoding"),
        (["bench", "models", "BASE", "--data", "LATIN"], "; name the right encoding, such as cp1252, with --encoding"),
        (
            ["bench", "models", "TEACHER", "--data", "REVIEWS", "--encoding", "utf-9"],
            "Python knows no encoding 'utf-9'; name the ",
        ),
        (["new", "LATIN"], "; name the right encoding, such as cp1252, with --encoding"),
        (["bench", "models", "REGRESSOR", "--data", "REVIEWS"], "compares numbers"),
        (["export", "REGRESSOR", "--task-data", "REVIEWS"], "compares numbers"),
        (["run", "TEACHER/recipe.yaml"], "neither a recipe file nor the name of a built-in recipe"),
    ],
)
def test_what_a_command_advises_exists_there(
    tmp_path, monkeypatch, capsys, base_folder, teacher_folder, regressor, reviews, latin, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    places = {"BASE": base_folder, "TEACHER": teacher_folder, "REGRESSOR": regressor}
    places |= {"REVIEWS": reviews, "LATIN": latin}
    assert app.main([str(places.get(argument, argument)) for argument in arguments]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert expected.replace("BASE", str(base_folder)) in line
    words, _ = app._selected(arguments, typer.main.get_command(app.app))
    command = commands()[words]
    assert remedies.flags_in(line) <= set(command.flags)
    assert command.takes_recipe or not A_KEY.search(line.replace("config.json", ""))
