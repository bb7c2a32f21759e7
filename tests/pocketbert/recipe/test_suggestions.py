"""What is proposed for an unknown key: one that is near in spelling and in a plausible section."""

import pytest

from compress.common.errors import UserError
from pocketbert.recipe.loading import load_recipe

LISTED = "expected one of "


@pytest.mark.parametrize(
    ("key", "proposal"),
    [
        ("task.lables", "did you mean labels?"),
        ("task.maxlen", "did you mean max_length?"),
        ("task.positve", "did you mean positive?"),
        ("student.num_layers", "did you mean layers?"),
        ("compute.presicion", "did you mean precision?"),
        ("distill.temperature", "it belongs elsewhere: distill.prediction.temperature"),
        ("task.vocabularys", "did you mean student.vocabulary?"),
        ("task.threshold", LISTED),  # bench.threads
        ("task.dropout_rate", LISTED),  # student.dropout
        ("export.quantization", "did you mean distill.prediction.quantisation?"),
        ("distill.warmup_steps", LISTED),  # bench.warm_up_s
        ("task.test_size", LISTED),  # teacher.fine_tune.batch_size
        ("student.hidden_size", LISTED),  # distill.general.hidden
    ],
)
def test_what_is_proposed_for_an_unknown_key(key, proposal):
    with pytest.raises(UserError) as error:
        load_recipe("quickstart", changes=[f"{key}=1"])
    (line,) = [line for line in str(error.value).splitlines() if f": {key}: unknown key" in line]
    assert line.partition("unknown key; ")[2].startswith(proposal)
