"""Builds the material with the commands of PocketBERT."""

from collections.abc import Callable
from pathlib import Path

from tests.attack.attack import Command
from tests.attack.material import PAIR, VARIANTS, Material
from tests.attack.processes import run_command

LONG = " ".join(["the story of a very warm film"] * 20)
TEXTS = ("a warm and lovely film", "a dull and flat plot", "the cast", "É, unknown words!", LONG, "the end of the end")


def build(material: Material, *, environment: dict[str, str], on_progress: Callable[[str], None]) -> None:
    """Fill the folder. Raises RuntimeError if a command fails."""
    material.root.mkdir(parents=True, exist_ok=True)
    on_progress("models and tables")
    _write_models(material)
    environment = {**environment, "POCKETBERT_CACHE": str(material.run_cache)}

    def pocketbert(name: str, *words: str | Path) -> None:
        _run(Command(words=words, limit_s=600), name, material, environment)

    on_progress("bundles")
    export = ("export", material.models / "teacher")
    variants = [word for variant in VARIANTS for word in ("--variant", variant)]
    pocketbert("export", *export, "--data", material.reviews, *variants, "--output", "bundles")
    columns = ("--text", "first", "--text", "second", "--data", material.pairs, "--variant", "fp32")
    pocketbert("pair", *export, *columns, "--output", "pairs")
    (material.root / "pairs" / "fp32").rename(material.bundle(PAIR))
    (material.root / "answers").mkdir()
    for name in (*VARIANTS, PAIR):
        command = Command(
            script=material.bundle(name) / "predict.py", stdin=material.lines(name), is_new_interpreter=True
        )
        answers = _run(command, f"predict-{name}", material, environment)
        (material.root / "answers" / f"{name}.jsonl").write_bytes(answers)
    on_progress("a run")
    pocketbert("run", "run", material.recipe, "--output", material.run)


def _run(command: Command, name: str, material: Material, environment: dict[str, str]) -> bytes:
    logs = material.root / "logs"
    logs.mkdir(exist_ok=True)
    ended = run_command(command, folder=material.root, environment=environment, output=logs / name)
    if ended.code != 0:
        raise RuntimeError(f"{command.line()} ended with {ended.code}:\n{ended.stderr.decode(errors='replace')}")
    return ended.stdout


def _write_models(material: Material) -> None:
    import torch
    from transformers import BertModel

    from spoilt_models import Models
    from tiny_bert import config, rows, write_csv

    Models.build(material.models)
    torch.manual_seed(1)  # a base that learns the task in seconds
    BertModel(config()).save_pretrained(material.models / "base")
    write_csv(material.reviews, ("text", "label"), rows(400))
    pairs = [(text, " ".join(text.split()[::-1]), label) for text, label in rows(60)]
    write_csv(material.pairs, ("first", "second", "label"), pairs)
    material.texts.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    write_recipe(material, material.recipe)


def write_recipe(material: Material, path: Path, *, data: Path | None = None, **sections: object) -> Path:
    """Write a recipe with every stage. `sections`: replace its own; None removes one."""
    from ruamel.yaml import YAML

    from tiny_bert import words_with_vectors

    path.parent.mkdir(parents=True, exist_ok=True)
    corpus = path.with_name("corpus.txt")
    corpus.write_text("\n".join(["the plot of the film and a very warm story"] * 60), encoding="utf-8")
    quick = {"epochs": 2, "batch_size": 16, "learning_rate": 5e-3, "checkpoint_steps": 7}
    content = {
        "name": "tiny",
        "task": {"data": str(data or material.reviews), "max_length": 32},
        "teacher": {"base": str(material.models / "base"), "fine_tune": {**quick, "epochs": 3}},
        "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4, "dropout": 0.1},
        "augment": {
            "masked_lm": {"train_head": {**quick, "corpus": ["task"], "max_length": 32}},
            "vectors": str(words_with_vectors(path.with_name("words.txt"))),
            "copies_per_text": 1,
        },
        "distill": {
            "general": {**quick, "corpus": [str(corpus), "task"], "max_length": 32},
            "intermediate": quick,
            "prediction": quick,
        },
        "export": {
            "variants": ["fp32", "int8-static"],
            "teacher_variants": [],
            "tolerance": {"int8-static": {"label_flips": 1.0, "logit_error": 9.0}},
        },
        "gate": {"student_share": None, "teacher_share": None, "teacher_over_baseline": False},
        "bench": {
            "effort": "quick",
            "threads": 1,
            "rounds": 2,
            "restart_every": 2,
            "warm_up_s": 0.05,
            "fixed_lengths": [],
            "fixed_batches": [],
            "compiled_teacher": False,
            "roofline": False,
        },
        **sections,
    }
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump({key: value for key, value in content.items() if value is not None}, file)
    return path
