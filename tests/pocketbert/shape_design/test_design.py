"""`pocketbert design` and `student.budget`: which shapes are considered, what they cost, what is proposed."""

import json
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification

from compress.common.errors import UserError
from compress.models.loading import save_model
from compress.models.shape import PRESETS, StudentShape
from pocketbert.cli import app
from pocketbert.cli_parts import run_text
from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.models import BudgetSection
from pocketbert.shape_design import proposal
from pocketbert.shape_design.candidate_shapes import (
    BERT_BASE,
    Limits,
    candidate_shapes,
    embedding_bytes,
    num_products,
    to_compare,
)
from pocketbert.shape_design.shape_timing import VOCABULARY, build_model, time_models
from tiny_bert import LABELS
from tiny_recipes import write_recipe

MINILM = replace(BERT_BASE, layers=6, width=384, ffn_width=1536)
SMALL = StudentShape(layers=2, width=128, ffn_width=384, heads=2)
LARGER = StudentShape(layers=4, width=256, ffn_width=1024, heads=4)


def test_candidates_can_start_as_their_teacher():
    shapes = candidate_shapes(MINILM)
    assert PRESETS["fast3"] in shapes and PRESETS["tinybert4"] in shapes and PRESETS["tinybert6"] not in shapes
    assert all(MINILM.allow(shape) for shape in shapes) and len(set(shapes)) == len(shapes)
    assert {shape.layers for shape in shapes} == {2, 3, 4, 5, 6}
    products = [num_products(shape, 64) for shape in shapes]
    assert products[0] == min(products) and products[-1] == max(products)


@pytest.mark.parametrize("tokens", [16, 128])
def test_products_are_those_that_torch_counts_for_the_whole_layers(tokens):
    def counted(layers: int) -> int:
        config = BertConfig(vocab_size=9, num_hidden_layers=layers, hidden_size=128, num_attention_heads=2,
                            intermediate_size=384, attn_implementation="eager")  # fmt: skip
        with FlopCounterMode(display=False) as counter:
            BertForSequenceClassification(config).eval()(input_ids=torch.ones(1, tokens, dtype=torch.long))
        return counter.get_total_flops() // 2

    more = num_products(replace(SMALL, layers=4), tokens) - num_products(SMALL, tokens)
    assert more == counted(4) - counted(2)


def test_one_candidate_per_number_of_layers_is_compared():
    shapes = [LARGER, replace(LARGER, ffn_width=768), SMALL, replace(SMALL, layers=3), replace(SMALL, layers=5)]
    assert to_compare(shapes, 3) == [LARGER, SMALL, replace(SMALL, layers=3)]


@pytest.mark.parametrize("variant", ["int8-static", "int4-static"])
def test_the_size_with_the_whole_vocabulary_is_that_of_a_built_model(tmp_path, monkeypatch, variant):
    built = build_model(SMALL, 64, variant, "gelu", tmp_path).stat().st_size
    monkeypatch.setattr("pocketbert.shape_design.shape_timing.VOCABULARY", 5000)
    whole = build_model(SMALL, 64, variant, "gelu", tmp_path).stat().st_size
    assert whole == pytest.approx(built + embedding_bytes(SMALL.width, 5000 - VOCABULARY, variant), rel=0.001)


def test_a_larger_student_takes_longer(tmp_path):
    models = [build_model(shape, 64, "int8-static", activation, tmp_path)
              for shape, activation in ((SMALL, "gelu"), (LARGER, "relu"))]  # fmt: skip
    small, larger = time_models(models, tokens=32, threads=1, rounds=3)
    assert small.median_ms < larger.median_ms and small.n >= 9


def design(budget: BudgetSection, **options: object) -> proposal.Design:
    return proposal.design_student(budget, None, None, rounds=2, console=Console(quiet=True), **options)


@pytest.fixture
def few_shapes(monkeypatch):
    """Three shapes, of which the largest takes several times as long as the smallest."""
    shapes = [SMALL, replace(SMALL, layers=3), LARGER]
    monkeypatch.setattr(proposal, "candidate_shapes", lambda limits: shapes)
    monkeypatch.setattr(proposal, "BERT_BASE", Limits(**{**vars(BERT_BASE), "positions": 64, "vocab_size": 1000}))
    return shapes


def test_the_most_weights_within_the_budget_are_proposed(few_shapes):
    everything = design(BudgetSection(latency_ms=10_000.0, tokens=32))
    assert everything.proposed.shape == LARGER and [each.shape for each in everything.shapes] == few_shapes[::-1]
    small = next(each for each in everything.shapes if each.shape == SMALL)
    by_size = design(BudgetSection(latency_ms=10_000.0, tokens=32, size_mb=small.size_mb + 0.01))
    assert by_size.proposed.shape == SMALL
    with pytest.raises(UserError, match=r"^no shape fits 0.001 ms and 5 MB: \{layers: 2, .* raise the budget$"):
        design(BudgetSection(latency_ms=0.001, tokens=32, size_mb=5.0))
    with pytest.raises(UserError, match="got a budget for 65 tokens; the teacher has positions for 64"):
        design(BudgetSection(latency_ms=1.0, tokens=65))


@pytest.fixture(scope="module")
def teacher_of_128(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=27, num_hidden_layers=4, hidden_size=128, num_attention_heads=4, intermediate_size=512,
                   max_position_embeddings=64, id2label=dict(enumerate(LABELS)))
    )  # fmt: skip
    save_model(model, tokenizer, folder)
    return folder


def test_a_recipe_with_a_budget_gets_a_shape_and_keeps_it(tmp_path, monkeypatch, reviews, teacher_of_128, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(proposal, "ROUNDS", 2)
    monkeypatch.setattr(proposal, "STEPS", 2)
    monkeypatch.setattr(proposal, "MOST_TIMED", 1)
    budget = {"latency_ms": 1000.0, "tokens": 16}
    student = {"budget": budget, "preset": None, "layers": None, "width": None, "ffn_width": None, "heads": None}
    recipe = write_recipe(tmp_path, reviews, teacher={"model": str(teacher_of_128)}, student=student)
    run = ["run", recipe, "--smoke", "--until", "intermediate", "--output", "run"]
    assert app.main(run) == 0, capsys.readouterr().err
    assert "student.budget: {layers: " in capsys.readouterr().err
    written = load_recipe("run/recipe.yaml").student
    assert written.budget == BudgetSection(**budget) and written.shape.width == 128 and not written.needs_design
    monkeypatch.setattr(proposal, "design_student", None)  # would fail
    assert app.main(run) == 0
    assert load_recipe("run/recipe.yaml").student == written


def test_the_command_compares_candidates_on_the_texts_of_a_recipe(
    tmp_path, monkeypatch, reviews, teacher_of_128, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(proposal, "MOST_TIMED", 1)
    recipe = write_recipe(tmp_path, reviews, teacher={"model": str(teacher_of_128)})
    words = ["design", recipe, "--latency-ms", "1000", "--tokens", "16", "--steps", "2", "--rounds", "2"]
    assert app.main([*words, "--output", "out", "--json"]) == 0, capsys.readouterr().err
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "design.json").read_text())
    losses = {each["shape"]["layers"]: each["loss"] for each in printed["shapes"] if each["loss"] is not None}
    assert set(losses) == {2, 3, 4} and printed["shapes"][printed["proposal"]]["loss"] == min(losses.values())
    assert (tmp_path / "out" / "design.svg").read_text().lstrip().startswith("<?xml")
    run_text.design(TypeAdapter(proposal.Design).validate_python(printed))
    assert "student: {layers: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "fp32"], "--variant fp32: expected one of int8-static, int4-static"),
        (["--set", "seed=1"], "--set changes a recipe, but no recipe is named"),
    ],
)
def test_wrong_options_get_one_line(words, message, capsys):
    assert app.main(["design", "--latency-ms", "1", *words]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_budget_and_a_shape_exclude_each_other(tmp_path, reviews, teacher_folder, capsys):
    student = {"budget": {"latency_ms": 1.0}, "preset": "fast3", "layers": None, "width": None, "ffn_width": None,
               "heads": None}  # fmt: skip
    recipe = write_recipe(tmp_path, reviews, teacher={"model": str(teacher_folder)}, student=student)
    assert app.main(["check", recipe]) == 2
    assert "student: give either a budget or a preset; not both" in capsys.readouterr().err
