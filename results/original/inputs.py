"""The same data, teacher and first students for both systems, each in the form that the system reads."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from compress.common.errors import UserError
from compress.data.columns import Split
from compress.data.tasks import load_task, read_split
from compress.data.tokenization import encode_split
from compress.distillation import stage_functions
from compress.models import loading
from compress.models.compatibility import Initialisation
from compress.models.inference import predict_logits
from compress.models.shape import StudentShape

BATCH_SIZE = 32
LABELS = ("negative", "positive")
ORIGINAL_DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
ORIGINAL_WEIGHTS, PROJECTION = "pytorch_model.bin", "fit_"  # fit_embedding: only of the factor two-projections
CONFIG_KEYS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "max_position_embeddings", "type_vocab_size", "initializer_range",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The folder of all inputs, and what they are made of."""

    folder: Path
    source: Path
    teacher: Path
    shape: StudentShape
    num_rows: int
    max_length: int

    @property
    def data(self) -> Path:
        """Train and dev in the layout of GLUE, which both systems read."""
        return self.folder / "data"

    def student(self, system: str, start: str, seed: int) -> Path:
        """A first student in the form of a system. Both forms have the same weights."""
        return self.folder / f"{start}-{seed}-{system}"

    def split(self, name: str) -> Split:
        """A split with the labels 0 and 1."""
        folder = self.source if name == "test" else self.data
        return read_split(
            folder / f"{name}.tsv", text=["sentence"], label="label", labels=["0", "1"], task_type="classification"
        )


def width_of(model: Path) -> int:
    """The hidden width in a model's config.json."""
    return int(json.loads((model / "config.json").read_text(encoding="utf-8"))["hidden_size"])


def remove(folder: Path) -> None:
    """Remove what an interrupted call left of a folder."""
    if folder.exists():
        shutil.rmtree(folder)


def write_data(inputs: Inputs) -> None:
    """Write the first `num_rows` rows of a shuffled train, and all of dev. Raises UserError.

    PocketBERT removes copies from train, and rows that are also in dev. They are left out here, so that both systems
    train on the same rows.
    """
    header, *train = _lines(inputs.source / "train.tsv")
    dev = _lines(inputs.source / "dev.tsv")
    held_out = {line.rpartition("\t")[0] for line in [*dev, *_lines(inputs.source / "test.tsv")]}
    distinct = {line.rpartition("\t")[0]: line for line in train}
    usable = [line for text, line in distinct.items() if text not in held_out]
    if len(usable) < inputs.num_rows:
        raise UserError(f"{inputs.source}: {len(usable)} different rows in train; expected at least {inputs.num_rows}")
    order = np.random.default_rng(0).permutation(len(usable))[: inputs.num_rows]
    selected = [usable[index] for index in order]
    inputs.data.mkdir(parents=True)
    for name, lines in {"train": [header, *selected], "dev": dev}.items():
        (inputs.data / f"{name}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    task = load_task(name="sst2", data=inputs.data, text=["sentence"], label="label", labels=LABELS)
    if task.train.texts != [line.rpartition("\t")[0] for line in selected]:
        raise UserError(f"{inputs.data}: PocketBERT reads other train rows than were written")


def write_teacher(inputs: Inputs, folder: Path, config: dict[str, float]) -> None:
    """Write the teacher in float32, in the form of the scripts. `config`: further entries of its config.json."""
    _write_original(loading.load_classifier(str(inputs.teacher)), inputs, folder, config)


def write_first_students(inputs: Inputs, start: str, seed: int) -> None:
    """Write a student before its training, in both forms. `start`: random or projected.

    A projected student gets the projected head of the teacher as well, which PocketBERT itself adds after step 1.
    """
    initialisation: Initialisation = "projected" if start == "projected" else "random"
    teacher = loading.load_classifier(str(inputs.teacher))
    tokenizer = loading.load_tokenizer(str(inputs.teacher))
    texts = encode_split(inputs.split("train"), tokenizer, max_length=inputs.max_length).without_column("labels")
    learner = stage_functions.initialise(
        initialisation, inputs.shape, teacher, LABELS, texts, task_type="classification", seed=seed
    )
    learner.save_encoder(inputs.student("pocketbert", start, seed), tokenizer)
    if start == "projected":
        stage_functions.init_head_from_teacher(learner, teacher, texts, seed=seed)
    projection = learner.projections.last_hidden
    extra = {
        "fit_dense.weight": projection,
        "fit_dense.bias": torch.zeros(len(projection)),
        "fit_embedding.weight": learner.projections.embedding.get_parameter("weight").detach(),
    }
    folder = inputs.student("original", start, seed)
    _write_original(learner.student, inputs, folder, ORIGINAL_DROPOUT, extra)


def read_original(folder: Path) -> PreTrainedModel:
    """A model in the form of the scripts, without their projections, as transformers' BERT."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = BertForSequenceClassification(BertConfig(**{key: settings[key] for key in CONFIG_KEYS}))
    weights = torch.load(folder / ORIGINAL_WEIGHTS, map_location="cpu", weights_only=True)
    model.load_state_dict({name: weight for name, weight in weights.items() if not name.startswith(PROJECTION)})
    return model.eval()


def logits_on(inputs: Inputs, model: PreTrainedModel, split: Split) -> np.ndarray:
    """The logits of a model, (rows, classes), by transformers in float32. The one evaluator of all models."""
    tokenizer = loading.load_tokenizer(str(inputs.teacher))
    return predict_logits(model, encode_split(split, tokenizer, max_length=inputs.max_length))


def accuracies(inputs: Inputs, model: PreTrainedModel) -> dict[str, float]:
    """The accuracy on dev and test."""
    splits = {name: inputs.split(name) for name in ("dev", "test")}
    return {
        name: float((logits_on(inputs, model, split).argmax(axis=1) == split.labels).mean())
        for name, split in splits.items()
    }


def relu_facts(inputs: Inputs) -> dict[str, object]:
    """The teacher with and without the ReLU that the scripts have before the classifier: accuracy, dev logits."""
    teacher, dev = loading.load_classifier(str(inputs.teacher)), inputs.split("dev")
    without, logits = accuracies(inputs, teacher), logits_on(inputs, teacher, dev)
    hook = teacher.get_submodule("bert.pooler").register_forward_hook(lambda _, args, output: output.relu())
    changed = logits_on(inputs, teacher, dev)
    facts = {
        "accuracy_without": without,
        "accuracy_with": accuracies(inputs, teacher),
        "num_changed_labels": int((changed.argmax(axis=1) != logits.argmax(axis=1)).sum()),
        "mean_logit_difference": float(np.abs(changed - logits).mean()),
    }
    hook.remove()
    return facts


def difference(inputs: Inputs, folder: Path, arrays: Path) -> dict[str, object]:
    """What the scripts compute for a model in their form, compared with transformers: token numbers and logits."""
    dev = inputs.split("dev")
    tokenizer = loading.load_tokenizer(str(inputs.teacher))
    own_ids = encode_split(dev, tokenizer, max_length=inputs.max_length).rows["input_ids"]
    theirs = np.load(arrays)
    same = [
        row[: len(own)].tolist() == own and not row[len(own) :].any()
        for row, own in zip(theirs["ids"], own_ids, strict=True)
    ]
    own = logits_on(inputs, read_original(folder), dev)
    return {
        "num_rows": len(dev),
        "num_other_tokens": same.count(False),
        "largest_logit_difference": float(np.abs(own - theirs["logits"]).max()),
    }


def _write_original(
    model: PreTrainedModel,
    inputs: Inputs,
    folder: Path,
    config: dict[str, float],
    extra: dict[str, torch.Tensor] | None = None,
) -> None:
    folder.mkdir(parents=True)
    settings = {key: getattr(model.config, key) for key in CONFIG_KEYS}
    (folder / "config.json").write_text(json.dumps({**settings, **ORIGINAL_DROPOUT, **config}), encoding="utf-8")
    torch.save({**model.state_dict(), **(extra or {})}, folder / ORIGINAL_WEIGHTS)
    tokens = loading.load_tokenizer(str(inputs.teacher)).get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{each}\n" for each in sorted(tokens, key=tokens.__getitem__)), "utf-8")


def _lines(path: Path) -> list[str]:
    """The lines of a table without quoting, without its line ends."""
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
