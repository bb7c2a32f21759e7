"""The maximum length, and advice about long texts."""

import json
import shutil

import numpy as np
import pytest

from compress.data.columns import Split
from pocketbert.new_recipe.lengths import choose_length


@pytest.fixture(scope="module")
def teacher(base_folder, tmp_path_factory):
    """A function that copies a teacher with other limits."""

    def make(*, positions: int, tokenizer_limit: int) -> str:
        folder = tmp_path_factory.mktemp("limits") / "base"
        shutil.copytree(base_folder, folder)
        for file, key, value in (
            ("config.json", "max_position_embeddings", positions),
            ("tokenizer_config.json", "model_max_length", tokenizer_limit),
        ):
            content = json.loads((folder / file).read_text(encoding="utf-8"))
            (folder / file).write_text(json.dumps({**content, key: value}), encoding="utf-8")
        return str(folder)

    return make


def texts(*num_words: int) -> Split:
    rows = [" ".join(["film"] * count) for count in num_words]
    return Split(texts=rows, pairs=None, labels=np.zeros(len(rows), dtype=int))


def test_the_longest_texts_of_all_rows_count(teacher):
    choice = choose_length(texts(*[6] * 3000, *[38] * 1000), teacher(positions=512, tokenizer_limit=512))
    assert choice.max_length == 48
    assert choice.facts == [
        "tokens: median 8, longest 40, of all 4,000 rows of train",
        "max_length 48: no text is longer",
    ]


def test_one_long_text_of_a_few_is_not_a_matter_of_the_teacher(teacher):
    choice = choose_length(texts(*[28] * 39, 31), teacher(positions=512, tokenizer_limit=512))
    assert (choice.max_length, choice.facts[1]) == (
        32,
        "max_length 32: 2.5 % of the texts are longer; under 0.1 % of all tokens are cut",
    )


@pytest.mark.parametrize(("positions", "tokenizer_limit"), [(512, 40), (40, 512)])
def test_the_teacher_bounds_the_length(teacher, positions, tokenizer_limit):
    choice = choose_length(texts(*[98] * 82, *[6] * 18), teacher(positions=positions, tokenizer_limit=tokenizer_limit))
    assert choice.max_length == 40
    assert "82 % of the texts are longer than the 40 tokens that the teacher can read" in choice.facts[1]
    assert f"{82 * 60 / (82 * 100 + 18 * 8):.0%}".replace("%", " %") in choice.facts[1]
    assert choice.reason == "tokens, the most that the teacher reads; 82 % of the texts are longer"


def test_long_texts_get_advice_with_its_price(teacher):
    choice = choose_length(texts(*[638] * 80, *[62] * 20), teacher(positions=512, tokenizer_limit=512))
    ratio = (80 * 512 + 20 * 64) / (80 * 128 + 20 * 64)
    assert choice.max_length == 512
    (price,) = [fact for fact in choice.facts if "price" in fact]
    assert f"a step takes about {ratio:.1f} times as long as with 128" in price and "80 % of all tokens" not in price
    assert f"would cut {80 * 512 / (80 * 640 + 20 * 64):.0%}".replace("%", " %") in price
    assert "--set task.max_length=128" in price


def test_a_few_very_long_texts_do_not_decide(teacher):
    limits = teacher(positions=512, tokenizer_limit=512)
    few = choose_length(texts(*[12] * 960, *[900] * 40), limits)
    assert few.max_length == 16 and "4.0 % of the texts are longer" in few.facts[1]
    ratio = (960 * 14 + 40 * 512) / (960 * 14 + 40 * 16)
    assert f"With 512, a step takes about {ratio:.1f} times as long" in few.facts[1]
    moderate = choose_length(texts(*[12] * 960, *[60] * 40), limits)
    assert moderate.max_length == 64 and "price" not in "".join(moderate.facts)


def test_without_the_tokenizer_lengths_are_an_estimate(base_folder):
    choice = choose_length(texts(*[10] * 50), "nobody/model")
    assert choice.max_length == 32 and "an estimate from the words of all 50 rows" in choice.facts[0]
