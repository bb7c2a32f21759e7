"""Models from elsewhere on the command line: `check` and every other command refuse the same ones, in one line."""

from pathlib import Path

import pytest

from pocketbert.cli import app
from spoilt_models import (
    CONFIGS,
    FOLDERS,
    SOUND,
    TOKENIZERS,
    WEIGHTS,
    Case,
    Models,
    change_tokenizer,
    with_names,
)
from tiny_bert import rows, write_csv
from tiny_recipes import write_recipe

AS_TEACHER: dict[str, Case] = {  # a few of each group; tests/compress/models/test_model_folders.py has them all
    **{f"config: {kind}": CONFIGS[kind] for kind in ("fewer layers than weights", "relative positions", "a decoder")},
    **{
        f"config: {kind}": CONFIGS[kind]
        for kind in ("epsilon as text", "label keys from 1", "heads as fraction", "UTF-16")
    },
    **{f"weights: {kind}": WEIGHTS[kind] for kind in ("harmful pickle", "LFS pointer", "half the shards", "float8")},
    **{f"weights: {kind}": WEIGHTS[kind] for kind in ("Lightning prefix", "state_dict", "cut off", "other outputs")},
    **{f"folder: {kind}": FOLDERS[kind] for kind in ("adapter", "checkpoints", "GGUF", "empty", "a file", "nothing")},
    **{f"tokenizer: {kind}": TOKENIZERS[kind] for kind in ("of a later version", "no padding", "no unknown token")},
    **{f"tokenizer: {kind}": TOKENIZERS[kind] for kind in ("Japanese, without its packages", "missing", "cut off")},
}


GENERAL = {"corpus": "task", "max_length": 32}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Models:
    return Models.build(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    lines = [(text, " ".join(reversed(text.split())), label) for text, label in rows(60)]
    return write_csv(tmp_path_factory.mktemp("data") / "pairs.csv", ("a", "b", "label"), lines)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))


def refusal(capsys, *arguments: object) -> str:
    """The one error line of a command that fails with exit code 2."""
    assert app.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr().err
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in printed and "fault" not in printed
    return line


@pytest.mark.parametrize("kind", AS_TEACHER)
def test_check_refuses_a_teacher(models, reviews, tmp_path, capsys, kind):
    build, expected = AS_TEACHER[kind]
    folder = build(models)
    line = refusal(capsys, "check", write_recipe(tmp_path, reviews, teacher={"model": str(folder)}))
    assert line.startswith(f"error: {folder}: ") and expected in line
    assert not (models.root / "harmed").exists(), "code in a pickle ran"


@pytest.mark.parametrize("command", ["run", "general", "export", "bench"])
@pytest.mark.parametrize(
    ("group", "kind"),
    [(CONFIGS, "fewer layers than weights"), (WEIGHTS, "harmful pickle"), (TOKENIZERS, "no padding")],
)
def test_other_commands_refuse_the_same(models, reviews, tmp_path, capsys, command, group, kind):
    build, expected = group[kind]
    folder = build(models)
    recipe = write_recipe(tmp_path, reviews, teacher={"model": str(folder)}, distill={"general": GENERAL})
    arguments = {
        "run": ["run", recipe],
        "general": ["general", recipe],
        "export": ["export", folder, "--data", reviews, "--variant", "fp32"],
        "bench": ["bench", "models", folder, "--data", reviews, "--rounds", "2"],
    }
    assert expected in refusal(capsys, *arguments[command])
    assert not (models.root / "harmed").exists(), "code in a pickle ran"
    assert not list(tmp_path.glob("runs/*/teacher")), "a stage ran before the model was refused"


def test_check_looks_at_every_model_of_the_recipe(models, reviews, tmp_path, capsys):
    """The teacher is sound; the base, the checkpoint or the masked language model is not."""
    teacher = str(models.root / "teacher")
    half_base, half_lm = models.copy("base", num_hidden_layers=2), models.copy("masked_lm", num_hidden_layers=2)
    same_size = {"layers": 2, "width": 32, "ffn_width": 64, "heads": 4}
    swapped = change_tokenizer(
        models.copy("base"),
        lambda content: content["model"]["vocab"].update(
            fine=content["model"]["vocab"]["warm"], warm=content["model"]["vocab"]["fine"]
        ),
    )
    checkpoint = {**same_size, "initialisation": "checkpoint"}
    recipes = {
        "config.json has 2 layers, the weights have 4": [
            {"teacher": {"base": str(half_base)}},
            {"teacher": {"model": teacher, "base": str(half_base)}},
            {"teacher": {"model": teacher}, "student": {**checkpoint, "checkpoint": str(half_base)}},
            {"teacher": {"model": teacher}, "augment": {"masked_lm": {"model": str(half_lm)}}},
        ],
        "its tokenizer differs from that of": [
            {"teacher": {"model": teacher}, "student": {**checkpoint, "layers": 4, "checkpoint": str(swapped)}},
        ],
    }
    for expected, changes in recipes.items():
        for sections in changes:
            assert expected in refusal(capsys, "check", write_recipe(tmp_path, reviews, **sections))


def test_a_tokenizer_that_fits_texts_but_not_pairs(models, reviews, pairs, tmp_path, capsys):
    for source, expected in {"roberta": "the model has 1 of them", "distilbert": "but the model takes none"}.items():
        model = models.root / source
        recipe = write_recipe(tmp_path, pairs, teacher={"model": str(model)}, task={"text": ["a", "b"]})
        assert expected in refusal(capsys, "check", recipe)
        options = ["--data", pairs, "--text", "a", "--text", "b"]
        assert expected in refusal(capsys, "export", model, *options, "--variant", "fp32")
        assert expected in refusal(capsys, "bench", "models", model, *options, "--rounds", "2")


@pytest.mark.parametrize("kind", ["torch.compile", "pickle", "weights of no known part"])
def test_check_accepts_other_forms_and_prints_how_it_read_them(models, reviews, tmp_path, capsys, kind):
    build, remark = SOUND[kind]
    folder = build(models)
    assert app.main(["check", write_recipe(tmp_path, reviews, teacher={"model": str(folder)})]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert remark is None or remark in printed


def test_export_of_a_pickled_model_of_torch_compile(models, reviews, tmp_path, capsys):
    folder = with_names(models.copy(), lambda name: f"_orig_mod.{name}")
    assert app.main(["export", str(folder), "--data", str(reviews), "--variant", "fp32", "--output", "out"]) == 0
    assert "'_orig_mod.' of torch.compile, which is left out" in " ".join(capsys.readouterr().err.split())
    assert Path("out/fp32/bundle.json").is_file()


def test_a_student_with_random_weights_uses_gelu_whatever_the_teacher_uses(models, reviews, tmp_path):
    """Export cannot fuse gelu_new, and would otherwise fail after the training."""
    folder = models.copy("base", hidden_act="gelu_new")
    recipe = write_recipe(tmp_path, reviews, teacher={"base": str(folder)}, student={"initialisation": "random"})
    assert app.main(["run", recipe, "--until", "export", "--output", "run"]) == 0


def test_a_checkpoint_with_another_activation_is_refused(models, reviews, tmp_path, capsys):
    folder = models.copy("base", hidden_act="gelu_new")
    student = {"layers": 4, "width": 32, "ffn_width": 64, "initialisation": "checkpoint", "checkpoint": str(folder)}
    recipe = write_recipe(tmp_path, reviews, teacher={"model": str(models.root / "teacher")}, student=student)
    assert "uses gelu_new; export fuses gelu and relu only" in refusal(capsys, "check", recipe)
