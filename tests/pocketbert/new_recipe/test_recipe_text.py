"""The text of a new recipe: every value is read as it was, and no text adds a line."""

import pytest
from ruamel.yaml import YAML

from pocketbert.new_recipe.recipe_text import Entry, recipe_text

HOSTILE = [
    "a\nname: other", "a\n\nb", "a\r\nb", "#x", "a # b", "a: b", "-x", "- x", "? x", "!tag x", "&a", "*a", "{{x}}",
    "a}", "]", "'", '"', "\\", "yes", "null", "1e3", "", " x ", "---", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202e",
    "\ufeff", "\U000e0041", "\udcff", "é模🚀", "x y " * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_values_and_comments_stay_on_their_line(text):
    values = [text, [text, text], {"train": text}]
    recipe = recipe_text(
        [text],
        [Entry(section="task", key=f"key{number}", value=value, comment=text) for number, value in enumerate(values)],
    )
    assert YAML(typ="safe", pure=True).load(recipe) == {
        "task": {f"key{number}": value for number, value in enumerate(values)}
    }
    assert len(recipe.splitlines()) == 2 + len(values)
    recipe.encode("utf-8")
