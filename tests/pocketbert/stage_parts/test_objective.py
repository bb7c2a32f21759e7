"""The weights of the layer-wise losses that a recipe leaves open."""

import pytest
from transformers import BertConfig, MPNetConfig

from pocketbert.recipe.training import IntermediateSection
from pocketbert.stage_parts.trainings import objective_of


@pytest.mark.parametrize(
    ("teacher", "heads", "attention", "relations"),
    [(BertConfig, 12, 1.0, 0.0), (BertConfig, 6, 0.0, 1.0), (MPNetConfig, 12, 0.02, 0.0), (MPNetConfig, 6, 0.0, 1.0)],
)
def test_attention_is_matched_if_there_are_as_many_heads_and_relations_otherwise(teacher, heads, attention, relations):
    objective = objective_of(IntermediateSection(), BertConfig(num_attention_heads=heads), teacher())
    assert (objective.attention, objective.relations) == (attention, relations)


def test_a_weight_of_the_recipe_wins():
    section = IntermediateSection(attention=[1.0, 0.5])
    assert objective_of(section, BertConfig(), MPNetConfig()).attention == (1.0, 0.5)
