import json
import shutil
from pathlib import Path

import pytest

from compress.common.errors import UserError
from pocketbert.recipe.preflight import check_models, read_encoder
from pocketbert.recipe.sections import Recipe
from tiny_bert import in_a_recipe

SHAPE = {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4}


def altered(folder: Path, target: Path, **changes: object) -> str:
    """A copy of a model folder with another config.json."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return str(target)


def preflight(teacher: dict, student: dict, **sections: object) -> None:
    recipe = Recipe.model_validate(
        {"name": "t", "task": {"data": "x.csv", "max_length": 32}, "teacher": teacher, "student": student, **sections}
    )
    check_models(recipe)


def test_a_sound_recipe_passes(base_folder, teacher_folder):
    preflight({"base": str(base_folder), "model": str(teacher_folder)}, SHAPE)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"layers": 5}, "the student has 5 layers, more than the teacher's 4"),
        ({"width": 36, "heads": 4}, "no wider than its teacher: width is 36, the teacher's 32"),
        ({"ffn_width": 65}, "no wider than its teacher: ffn_width is 65, the teacher's 64"),
        ({"heads": 8}, "the student has 8 heads, the teacher 4"),
        ({"initialisation": "teacher_layers"}, "needs equal width: student 16, teacher 32"),
    ],
)
def test_a_student_that_does_not_fit_is_an_error(base_folder, student, message):
    with pytest.raises(UserError, match=message):
        preflight({"base": str(base_folder)}, {**SHAPE, **student})


def test_texts_with_more_tokens_than_the_teacher_has_positions_are_an_error(base_folder):
    with pytest.raises(UserError, match=r"task\.max_length is 65; the teacher .* has positions for 64"):
        preflight({"base": str(base_folder)}, SHAPE, task={"data": "x.csv", "max_length": 65})


def test_positions_of_roberta_start_after_its_padding(base_folder, tmp_path):
    name = altered(base_folder, tmp_path / "r", model_type="roberta", pad_token_id=1, max_position_embeddings=514)
    assert read_encoder(name).max_tokens == 512


def test_base_and_model_must_have_equal_sizes(base_folder, teacher_folder, tmp_path):
    other = altered(teacher_folder, tmp_path / "wide", hidden_size=64, vocab_size=99)
    with pytest.raises(UserError) as error:
        preflight({"base": str(base_folder), "model": other}, SHAPE)
    assert "differ: width 32 and 64" in str(error.value) and "differ: vocab_size 27 and 99" in str(error.value)


def test_a_model_that_is_no_bert_or_cannot_be_fused_is_an_error(base_folder, tmp_path):
    refused = r"a albert, whose weights cannot initialise a student: its layers share .*$"
    with pytest.raises(UserError, match=refused) as error:
        preflight({"base": altered(base_folder, tmp_path / "r", model_type="albert")}, SHAPE)
    assert in_a_recipe(error.value).endswith("its layers share their weights; use student.initialisation: random")
    other = altered(base_folder, tmp_path / "silu", hidden_act="silu")
    with pytest.raises(UserError, match="uses silu; export fuses gelu and relu only") as error:
        preflight({"base": other}, SHAPE)
    assert in_a_recipe(error.value).endswith("only; set student.activation: gelu, or relu")
    preflight({"base": other}, {**SHAPE, "activation": "gelu"})
    preflight({"base": altered(base_folder, tmp_path / "relu", hidden_act="relu")}, SHAPE)
    with pytest.raises(UserError, match="no model config could be read"):
        preflight({"base": str(tmp_path)}, SHAPE)


def test_a_checkpoint_must_have_the_shape(base_folder):
    student = {**SHAPE, "initialisation": "checkpoint", "checkpoint": str(base_folder)}
    with pytest.raises(UserError, match="has layers 4; expected 2"):
        preflight({"base": str(base_folder)}, student)
