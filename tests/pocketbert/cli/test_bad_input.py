"""Bad input of many kinds: one error line each, exit code 2, and no file is lost or changed."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

import pocketbert
from bench.results.document import FORMAT_VERSION
from pocketbert.cli import app
from signing_keys import write_key_pair
from tiny_bert import rows
from tiny_bundles import build_fp32_bundle


@dataclass
class Place:
    """The folder of a test, with a valid recipe to spoil."""

    root: Path
    base: Path
    teacher: Path
    bundle: Path
    reviews: Path

    def recipe(self, **changes: object) -> str:
        """A valid recipe, except for the given sections."""
        quick = {"epochs": 1, "max_steps": 1, "batch_size": 8, "learning_rate": 1e-3}
        content = {
            "name": "tiny",
            "task": {"data": str(self.reviews), "max_length": 32},
            "teacher": {"base": str(self.base), "fine_tune": quick},
            "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4},
            "distill": {"intermediate": quick, "prediction": quick},
            "gate": {"teacher_over_baseline": False},
            **changes,
        }
        return self.write("tiny.yaml", content)

    def write(self, name: str, content: object) -> str:
        if isinstance(content, bytes):
            (self.root / name).write_bytes(content)
        elif isinstance(content, str):
            (self.root / name).write_text(content, encoding="utf-8")
        else:
            with (self.root / name).open("w", encoding="utf-8") as file:
                YAML(typ="safe", pure=True).dump(content, file)
        return name

    def copy(self, source: Path, **config: object) -> Path:
        """A copy of a model or bundle, with another config.json."""
        target = self.root / f"copy-of-{source.name}"
        shutil.copytree(source, target)
        if config:
            path = target / "config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return target


@pytest.fixture(scope="session")
def good_bundle(tmp_path_factory, teacher_folder, reviews):
    return build_fp32_bundle(tmp_path_factory.mktemp("bundles"), teacher_folder, reviews, ["text"])


@pytest.fixture
def place(tmp_path, monkeypatch, base_folder, teacher_folder, good_bundle, reviews):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    return Place(root=tmp_path, base=base_folder, teacher=teacher_folder, bundle=good_bundle, reviews=reviews)


def error_lines(capsys, arguments: list[object]) -> list[str]:
    """The error lines of a command that fails with exit code 2."""
    assert app.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    lines = [line.removeprefix("error: ") for line in printed.splitlines() if line.startswith("error: ")]
    assert lines, printed
    return lines


def snapshot(root: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def check(place: Place, capsys, arguments: list[object], *expected: str) -> None:
    before = snapshot(place.root)
    (line,) = error_lines(capsys, arguments)
    for part in expected:
        assert part in line
    after = snapshot(place.root)
    assert {path: after.get(path) for path in before} == before, "something that was there is gone or changed"


SOUND = "name: x\ntask: {data: x.csv}\nteacher: {base: b}\nstudent: {preset: tinybert4}\n"

RECIPES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "unknown key": (SOUND + "sede: 3\n", ("r.yaml, line 5: sede: unknown key", "did you mean seed?")),
    "key of another section": (SOUND + "epochs: 3\n", ("line 5", "belongs elsewhere", "distill.prediction.epochs")),
    "duplicate key": (SOUND + "seed: 1\nseed: 2\n", ("line 5: seed: duplicate key, also in line 6", "remove one")),
    "text for a number": (SOUND + "seed: one\n", ("line 5: seed: got 'one'; expected a whole number",)),
    "fraction for a count": (SOUND + "bench: {rounds: 2.5}\n", ("bench.rounds: got 2.5; expected a whole number",)),
    "negative number": (SOUND + "seed: -1\n", ("seed: got -1; expected 0 or more",)),
    "rate beyond reason": (
        SOUND + "distill: {prediction: {learning_rate: 3}}\n",
        ("distill.prediction.learning_rate: got 3; expected less than 1",),
    ),
    "missing section": (SOUND.replace("student: {preset: tinybert4}\n", ""), ("r.yaml: student: missing",)),
    "missing key": (SOUND.replace("{data: x.csv}", "{}"), ("line 2: task.data: missing; expected: A local file",)),
    "empty file": ("", ("r.yaml: got nothing, expected keys and values", "pocketbert new")),
    "a list": ("- a\n- b\n", ("got a list, expected keys and values",)),
    "tabs": ("name: x\ntask:\n\tdata: x\n", ("r.yaml, line 3: not readable as YAML", "spaces, not tabs")),
    "open bracket": (SOUND + "gate: {require: [fp32\n", ("not readable as YAML",)),
    "not text": (b"\xff\xfe\x00name", ("r.yaml: not readable as YAML",)),
    "unknown choice": (
        SOUND.replace("tinybert4", "tinybert5"),
        (
            "line 4: student.preset: got 'tinybert5'; expected 'tinybert4', 'tinybert4-384', 'fast4', 'fast3' or "
            "'tinybert6'",
        ),
    ),
    "preset and numbers": (
        SOUND.replace("tinybert4}", "tinybert4, layers: 3}"),
        ("line 4: student: give either preset, or layers, width, ffn_width and heads; not both",),
    ),
    "width that heads do not divide": (
        SOUND.replace("preset: tinybert4", "layers: 2, width: 30, ffn_width: 64, heads: 4"),
        ("student: width 30 is not a multiple of heads 4",),
    ),
    "a stage that matches nothing": (
        SOUND + "distill: {intermediate: {embedding: 0, hidden: 0, attention: 0}}\n",
        ("distill.intermediate", "are all 0"),
    ),
    "a name that is a path": (SOUND.replace("name: x", "name: a/b"), ("line 1: name: got 'a/b'; expected letters",)),
    "no teacher": (SOUND.replace("{base: b}", "{}"), ("line 3: teacher: name teacher.base",)),
    "a gate on what is not built": (
        SOUND + "export: {variants: [fp32]}\ngate: {require: [int8-dynamic]}\n",
        ("line 6: gate.require: got int8-dynamic, which is not in export.variants",),
    ),
    "a tolerance of what is not built": (
        SOUND + "export:\n  variants: [fp32]\n  tolerance: {int8-dynamic: {label_flips: 0.1}}\n",
        ("line 7: export.tolerance: got int8-dynamic",),
    ),
    "rounding of what is not built": (
        SOUND + "export: {variants: [fp32]}\ndistill: {prediction: {quantisation: int4-static}}\n",
        ("line 6: distill.prediction.quantisation: got int4-static, which is not in export.variants",),
    ),
    "a variant twice": (SOUND + "export: {variants: [fp32, fp32]}\n", ("export: variants lists one twice",)),
    "a grid beyond the texts": (
        SOUND.replace("x.csv", "x.csv, max_length: 32") + "bench: {fixed_lengths: [16, 512]}\n",
        ("line 5: bench.fixed_lengths: got 512; expected at most task.max_length, 32",),
    ),
    "infinity": (SOUND + "distill: {prediction: {temperature: .inf}}\n", ("prediction.temperature: got inf",)),
    "three text columns": (SOUND.replace("{data: x.csv}", "{data: x, text: [a, b, c]}"), ("task.text", "at most 2")),
    "checkpoint without the key": (
        SOUND.replace("tinybert4}", "tinybert4, initialisation: checkpoint}"),
        ("student: set both initialisation: checkpoint and the key checkpoint, or neither",),
    ),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_recipes(place, capsys, kind):
    content, expected = RECIPES[kind]
    check(place, capsys, ["run", place.write("r.yaml", content)], "r.yaml", *expected)


def some(count: int) -> str:
    return "".join(f'"{text}",{label}\n' for text, label in rows(count))


TABLES: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "empty": ("t.csv", "", ("t.csv: the table has no rows; expected a header",)),
    "header alone": ("t.csv", "text,label\n", ("t.csv: the table has no rows",)),
    "one row": ("t.csv", "text,label\na,b\n", ("t.csv: column 'label' holds 1 class (b); expected at least two",)),
    "two rows": (
        "t.csv",
        "text,label\na,b\nc,d\n",
        ("the dev split is empty after splitting the 2 rows of train", "at least 10"),
    ),
    "one label": ("t.csv", "text,label\n" + "".join(f"t {i},same\n" for i in range(30)), ("holds 1 class (same)",)),
    "missing column": ("t.csv", "body,label\n" + some(20), ("no column 'text'; it has body, label",)),
    "ragged rows": (
        "t.csv",
        "text,label\n" + some(20) + "a, b,positive\n",
        ("t.csv, line 22: got 3 cells, expected 2 as in the header; put a text with commas in double quotes",),
    ),
    "short row": ("t.csv", "text,label\n" + some(20) + "a\n", ("t.csv, line 22: got 1 cells, expected 2",)),
    "NUL bytes": ("t.csv", "text,label\n" + some(20) + "a\0b,positive\n", ("t.csv, line 22: got a NUL byte",)),
    "wrong encoding": (
        "t.csv",
        ("text,label\n" + some(20)).encode() + b"caf\xe9,positive\n",
        ("t.csv: not utf-8", "name the right encoding, such as cp1252, as task.encoding"),
    ),
    "UTF-16 cut off": ("t.csv", ("text,label\n" + some(20)).encode("utf-16")[:-1], ("the byte-order mark of UTF-16",)),
    "open quote": (
        "t.csv",
        "text,label\n" + some(20) + '"never closed,positive\nb,negative\n',
        ("t.csv, line 22:", "is a quote left open?"),
    ),
    "10 MB field": ("t.csv", "text,label\n" + some(20) + f"{'a' * 10**7},positive\n", ("t.csv, line 22:", "1,000,000")),
    "duplicate header": (
        "t.csv",
        "text,label,text\na,b,c\n",
        ("t.csv, line 1: the header names the column 'text' twice",),
    ),
    "two delimiters": (
        "t.csv",
        "id,text;label\n" + "".join(f"{index},t;{index % 2}\n" for index in range(20)),
        ("t.csv: every row can be read as comma- or semicolon-separated",),
    ),
    "empty text": ("t.csv", "text,label\n" + some(20) + ",positive\n", ("'text' is empty in 1 rows, first in row 21",)),
    "NaN labels": (
        "t.csv",
        "text,label\n" + some(20) + "a,nan\nb,\n",
        ("'label' is empty in 1 rows, first in row 22",),
    ),
    "nested too deep": ("t.jsonl", "[" * 9999 + "\n", ("t.jsonl, line 1: not JSON",)),
    "half a surrogate pair": (
        "t.jsonl",
        "".join(json.dumps({"text": f"t{index} \ud800", "label": str(index % 2)}) + "\n" for index in range(20)),
        ("t.jsonl (train): column 'text', row 1: got half of a surrogate pair",),
    ),
    "a line that is not JSON": ("t.jsonl", '{"text": "a", "label": "b"}\n{"text":\n', ("t.jsonl, line 2: not JSON",)),
    "a JSON list of lists": ("t.json", '[["a", "b"]]', ("t.json: element 1 is a list; expected a list of objects",)),
    "a broken workbook": ("t.xlsx", b"PK\x03\x04", ("t.xlsx: not a readable workbook", "save the sheet as CSV UTF-8")),
    "an unknown suffix": ("t.feather", b"", ("t.feather: cannot read .feather; expected .csv",)),
    "a broken parquet": ("t.parquet", b"PAR1 and no more", ("t.parquet: not a readable parquet table",)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables(place, capsys, kind):
    name, content, expected = TABLES[kind]
    place.write(name, content)
    check(place, capsys, ["run", place.recipe(task={"data": name, "max_length": 32})], *expected)


def folder_of(place: Place, **files: str) -> str:
    (place.root / "data").mkdir()
    for name, content in files.items():
        place.write(f"data/{name}.csv", content)
    return "data"


TASKS: dict[str, tuple[Callable[[Place], dict[str, object]], tuple[str, ...]]] = {
    "labels only in test": (
        lambda place: {
            "data": folder_of(place, train="text,label\n" + some(40), test="text,label\na,neutral\nb,mixed\n")
        },
        ("data (test): label 'mixed' in column 'label' is not one of negative, positive; nor are neutral",),
    ),
    "no train file": (lambda place: {"data": folder_of(place, dev="text,label\na,b\n")}, ("contains no train file",)),
    "no such file": (lambda place: {"data": "nothing.csv"}, ("task.data: nothing.csv is neither a file nor a folder",)),
    "no such folder": (lambda place: {"data": "./data"}, ("task.data: data is neither a file nor a folder",)),
    "no such encoding": (
        lambda place: {"data": str(place.reviews), "encoding": "utf-9"},
        ("Python knows no encoding 'utf-9'; name the right encoding, such as cp1252, as task.encoding",),
    ),
    "words for a regression": (
        lambda place: {"data": str(place.reviews), "metric": "pearson_spearman"},
        ("got 'negative' in column 'label', row 1", "compares numbers"),
    ),
    "a subset of a file": (lambda place: {"data": str(place.reviews), "subset": "sst2"}, ("task.subset: 'sst2'",)),
    "the label as a text": (
        lambda place: {"data": str(place.reviews), "text": ["text", "label"]},
        ("tiny.yaml, line", "got the columns text, label, label as text and label; expected different columns"),
    ),
    "classes for a regression": (
        lambda place: {"data": str(place.reviews), "labels": ["a", "b"], "metric": "pearson_spearman"},
        ("labels lists classes",),
    ),
    "a class twice": (
        lambda place: {"data": str(place.reviews), "labels": ["a", "a"]},
        ("labels lists a class twice: a, a",),
    ),
    "a label that train lacks": (
        lambda place: {
            "data": folder_of(place, train="text,label\n" + some(40), dev="text,label\na,negative\nb,mixed\n"),
            "labels": ["negative", "positive", "mixed"],
        },
        ("dev has the label 'mixed', but no row of train does",),
    ),
    "other names than the labels": (
        lambda place: {"data": str(place.reviews), "labels": ["good", "bad"]},
        ("is not one of good, bad",),
    ),
}


@pytest.mark.parametrize("kind", TASKS)
def test_tasks(place, capsys, kind):
    task, expected = TASKS[kind]
    check(place, capsys, ["run", place.recipe(task={"max_length": 32, **task(place)})], *expected)


class _Harm:
    """What a pickle does when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def without_weights(place: Place, source: Path) -> Path:
    folder = place.copy(source)
    (folder / "model.safetensors").unlink()
    return folder


def pickled(place: Place) -> Path:
    folder = without_weights(place, place.base)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Harm(place.root / "harmed")))
    return folder


def truncated(place: Place) -> Path:
    folder = place.copy(place.base)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return folder


def changed_weights(place: Place, source: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    folder = place.copy(source)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def other_tokenizer(place: Place) -> Path:
    folder = place.copy(place.base)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"more{index}": len(vocabulary) + index for index in range(9)}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def no_tokenizer(place: Place) -> Path:
    folder = place.copy(place.base)
    for path in folder.glob("*token*"):
        path.unlink()
    return folder


def base(folder: object) -> dict[str, object]:
    return {"teacher": {"base": str(folder)}}


def model(folder: object) -> dict[str, object]:
    return {"teacher": {"model": str(folder)}}


def shape(**changes: object) -> dict[str, object]:
    return {"student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4, **changes}}


MODELS: dict[str, tuple[Callable[[Place], dict[str, object]], tuple[str, ...]]] = {
    "not a model": (lambda place: base(place.root), ("no model config could be read",)),
    "a config that is not JSON": (
        lambda place: (place.write("config.json", "{"), base(place.root))[1],
        ("no model config could be read",),
    ),
    "no such Hub name": (lambda place: base("nobody/nothing"), ("nobody/nothing: no model config could be read",)),
    "no such package": (lambda place: base("package:nothing/model"), ("the package 'nothing' is not installed",)),
    "a decoder": (
        lambda place: base(place.copy(place.base, model_type="gpt2")),
        ("got a gpt2, which cannot be distilled; expected one of albert, bert",),
    ),
    "a new architecture": (
        lambda place: base(place.copy(place.base, model_type="bort")),
        ("got a bort, which cannot be distilled; expected one of albert",),
    ),
    "another activation": (lambda place: base(place.copy(place.base, hidden_act="silu")), ("uses silu",)),
    "heads that do not match": (
        lambda place: {**shape(heads=8), "distill": {"intermediate": {"attention": 0}}},
        (
            "no more heads than its teacher: the student has 8 heads, the teacher 4",
            "; make student.heads equal, or use student.initialisation: random",
        ),
    ),
    "a deeper student": (
        lambda place: shape(layers=9),
        ("student.layers: the student has 9 layers, more than the teacher's 4",),
    ),
    "a wider student": (
        lambda place: shape(width=64),
        ("no wider than its teacher: width is 64, the teacher's 32; use student.initialisation: random",),
    ),
    "texts longer than its positions": (
        lambda place: {"task": {"data": str(place.reviews), "max_length": 512}},
        ("task.max_length is 512; the teacher", "has positions for 64 tokens"),
    ),
    "a teacher without a head": (lambda place: model(place.base), ("not a fine-tuned classifier", "teacher.base")),
    "a teacher with other labels": (
        lambda place: model(place.copy(place.teacher, id2label={"0": "spam", "1": "ham"})),
        ("teacher and data disagree on the labels: the teacher has spam, ham; the data negative, positive",),
    ),
    "truncated weights": (lambda place: base(truncated(place)), ("no model could be loaded",)),
    "no weights": (lambda place: base(without_weights(place, place.base)), ("no model could be loaded",)),
    "pickled weights": (lambda place: base(pickled(place)), ("got pickled weights (pytorch_model.bin)", "safetensors")),
    "weights of another shape": (
        lambda place: base(place.copy(place.base, intermediate_size=128)),
        ("no model could be loaded",),
    ),
    "weights that lack a layer": (
        lambda place: base(
            changed_weights(place, place.base, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
        ),
        ("its weights lack 1 of those that config.json requires", "encoder.layer.1.output.dense.weight"),
    ),
    "a head that is not there": (
        lambda place: model(changed_weights(place, place.teacher, lambda weights: weights.pop("classifier.weight"))),
        ("its weights lack 1", "classifier.weight"),
    ),
    "NaN weights": (
        lambda place: base(
            changed_weights(place, place.base, lambda weights: weights["embeddings.LayerNorm.bias"].fill_(torch.nan))
        ),
        ("embeddings.LayerNorm.bias contains NaN or infinity",),
    ),
    "the tokenizer of another model": (
        lambda place: base(other_tokenizer(place)),
        ("its tokenizer has 36 tokens, but its embedding has 27 rows",),
    ),
    "no tokenizer": (lambda place: base(no_tokenizer(place)), ("tokenizer",)),
    "a student of another shape": (
        lambda place: shape(initialisation="checkpoint", checkpoint=str(place.base)),
        ("student.checkpoint", "has layers 4; expected 2"),
    ),
    "a corpus that is not there": (
        lambda place: {"distill": {"general": {"corpus": "nothing.txt", "max_length": 32}}},
        ("distill.general.corpus: nothing.txt: no such file or folder",),
    ),
    "a masked language model without its head": (
        lambda place: {"augment": {"masked_lm": {"model": str(place.base)}}},
        ("augment.masked_lm:", "ships without a masked-language-model head", "train_head"),
    ),
    "vectors that are not there": (
        lambda place: {"augment": {**own_head(), "vectors": "nothing.txt"}},
        ("augment.vectors: nothing.txt: no such file or folder",),
    ),
    "stop words that are not there": (
        lambda place: {"augment": {**own_head(), "stop_words": "german"}},
        ("augment.stop_words: german could not be read", "expected english, none, or a text file"),
    ),
    "a head with longer blocks than positions": (
        lambda place: {"augment": own_head(max_length=512)},
        ("augment.masked_lm.train_head.max_length is 512", "has positions for 64 tokens"),
    ),
    "a filter by labels where there are none": (
        lambda place: {
            "task": {
                "data": place.write("scores.csv", "text,label\n" + "the film,0.5\n" * 40),
                "metric": "pearson_spearman",
                "max_length": 32,
            },
            "augment": {**own_head(), "drop_flips_above": 0.9},
        },
        ("augment.drop_flips_above compares labels, but the metric pearson_spearman is for regression",),
    ),
}


def own_head(**keys: object) -> dict[str, object]:
    return {"masked_lm": {"train_head": {"corpus": "task", "max_length": 32, "max_steps": 2, **keys}}}


@pytest.mark.parametrize("kind", MODELS)
def test_models(place, capsys, kind):
    changes, expected = MODELS[kind]
    arguments = ["run", place.recipe(**{"task": {"data": str(place.reviews), "max_length": 32}, **changes(place)})]
    if kind in ("a wider student", "heads that do not match", "a student of another shape"):
        lines = error_lines(capsys, arguments)
        assert all(part in lines[0] for part in expected)
    else:
        check(place, capsys, arguments, *expected)
    assert not (place.root / "harmed").exists()


def general(place: Place, corpus: str | bytes) -> dict[str, object]:
    section = {"corpus": place.write("corpus.txt", corpus), "max_length": 32, "epochs": 1}
    return {**model(place.teacher), "distill": {"general": section}}


TRAININGS: dict[str, tuple[Callable[[Place], dict[str, object]], str]] = {
    "an empty corpus": (lambda place: general(place, ""), "distill.general.corpus: there is no text in it"),
    "a corpus of one line": (
        lambda place: general(place, "the film was fine\n"),
        "fills 1 of the 64 blocks of one batch (32 tokens each)",
    ),
    "a corpus in another encoding": (
        lambda place: general(place, "the café was fine\n".encode("latin-1") * 99),
        "corpus.txt is not utf-8 text",
    ),
    "a head's corpus of one text": (
        lambda place: {
            **model(place.teacher),
            "augment": own_head(corpus=place.write("one.txt", "the film was fine\n")),
        },
        "augment.masked_lm.train_head.corpus: got fewer than two texts; expected many",
    ),
    "vectors that are none": (
        lambda place: {
            **model(place.teacher),
            "augment": {**own_head(batch_size=8), "vectors": place.write("words.txt", "this is prose\n")},
        },
        "no word vectors could be read (line 1: expected a word and its numbers); expected GloVe",
    ),
    "fp16 without a GPU": (
        lambda place: {**general(place, "the film was fine\n" * 99), "compute": {"precision": "fp16"}},
        "compute.precision: fp16 requires a CUDA device, but this machine has none; use auto",
    ),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_trainings(place, capsys, kind):
    """Detected in a stage: the results of earlier stages stay."""
    if kind == "fp16 without a GPU" and torch.cuda.is_available():
        pytest.skip("there is one")
    changes, expected = TRAININGS[kind]
    check(place, capsys, ["run", place.recipe(**changes(place)), "--output", "out"], expected)
    assert (place.root / "out" / "teacher").exists() and not (place.root / "out" / "general").exists()


OUT_OF_MEMORY = """
import resource, sys
import psutil, torch, transformers, datasets, accelerate
from pocketbert.cli import app
from pocketbert.pipeline import flow
from pocketbert.stages import intermediate, teacher
most = psutil.Process().memory_info().vms + 2**30
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.exit(app.main(sys.argv[1:]))
"""


def test_too_little_memory_is_reported_with_the_key_to_lower(place):
    """The process gets a gigabyte more than it has at its start, and is to train a batch of several."""
    changes = {"student": {"layers": 2, "width": 16, "ffn_width": 60_000, "heads": 4, "initialisation": "random"}}
    stage = {"epochs": 1, "batch_size": 300, "learning_rate": 1e-3}
    recipe = place.recipe(**model(place.teacher), **changes, distill={"intermediate": stage, "prediction": stage})
    finished = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, "run", recipe, "--output", "out"],
        cwd=place.root, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.splitlines()[-1].startswith(
        "error: intermediate: out of memory with 300 rows at once; lower"
    )


def spoilt(place: Place, name: str, change: Callable[[bytes], bytes] | None) -> Path:
    folder = place.copy(place.bundle)
    if change is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
    return folder


def spoilt_and_summed(place: Place, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A bundle that is wrong, but whose check sums are right."""
    folder = spoilt(place, name, change)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    fixed = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (folder / "SHA256SUMS").write_text("\n".join(fixed) + "\n")
    return folder


def turned(place: Place) -> Path:
    return place.copy(place.teacher, id2label={"0": "positive", "1": "negative"})


EXPORT = ("--text", "text", "--label", "label", "--max-length", 32, "--output", "out")

BUNDLES: dict[str, tuple[Callable[[Place], list[object]], tuple[str, ...]]] = {
    "not a bundle": (lambda place: ["verify", place.base], ("not a bundle, it has no bundle.json",)),
    "a file that is gone": (
        lambda place: ["verify", spoilt(place, "tokenizer.json", None)],
        ("tokenizer.json: the file is missing, but SHA256SUMS lists it",),
    ),
    "a file that was edited": (
        lambda place: ["verify", spoilt(place, "onnx/model.onnx", lambda content: content + b"x")],
        ("model.onnx: changed since the bundle was written",),
    ),
    "sums that are gone": (lambda place: ["verify", spoilt(place, "SHA256SUMS", None)], ("SHA256SUMS cannot be read",)),
    "a manifest that is not JSON": (
        lambda place: ["verify", spoilt(place, "bundle.json", lambda content: content[:50])],
        ("bundle.json cannot be read",),
    ),
    "another format": (
        lambda place: [
            "verify",
            spoilt(place, "bundle.json", lambda content: content.replace(b'_version": 1', b'_version": 9')),
        ],
        ("does not have format version 1 or 2 (got 9); use the PocketBERT version that wrote it",),
    ),
    "a truncated graph": (
        lambda place: ["verify", spoilt_and_summed(place, "onnx/model.onnx", lambda content: content[:5000])],
        ("model.onnx",),
    ),
    "a truncated tokenizer": (
        lambda place: ["verify", spoilt_and_summed(place, "tokenizer.json", lambda content: content[:99])],
        ("copy-of-fp32",),
    ),
    "a benchmark of nothing": (lambda place: ["bench", "models", "nothing"], ("nothing: no such folder",)),
    "two models against themselves": (
        lambda place: ["bench", "self-check", place.teacher, place.teacher, "--runs", "2"],
        ("bench self-check: got unexpected extra argument",),
    ),
    "an unknown peer": (
        lambda place: ["bench", "peers", place.teacher, place.teacher, "--calibration", place.reviews, "--peer", "tvm"],
        ("--peer tvm: expected one of optimum-onnx, OpenVINO, CTranslate2, Olive",),
    ),
    "a peer's model that is not there": (
        lambda place: ["bench", "peers", "nothing", place.teacher, "--calibration", place.reviews],
        ("nothing: no such folder",),
    ),
    "a bundle that is none beside peers": (
        lambda place: ["bench", "peers", place.teacher, place.teacher, "--calibration", place.reviews],
        ("bundle.json",),
    ),
    "an unknown shape": (
        lambda place: ["bench", "shapes", "--shape", "GPT"],
        ("--shape GPT: expected some of BERT-base, TinyBERT4",),
    ),
    "a benchmark of a folder that is no model": (
        lambda place: ["bench", "models", place.root],
        ("neither a bundle (bundle.json) nor a Hugging Face folder (config.json)",),
    ),
    "a benchmark on a GPU that is not there": (
        lambda place: ["bench", "models", place.teacher, "--device", "cuda"],
        ("--device cuda: no CUDA device here",),
    ),
    "a grid of something else": (
        lambda place: ["bench", "models", place.teacher, "--grid", "64"],
        ("got the shape '64'; expected texts x tokens",),
    ),
    "models with other labels": (
        lambda place: ["bench", "models", place.teacher, turned(place), "--data", place.reviews],
        ("the models' labels differ",),
    ),
    "an export over a bundle": (
        lambda place: (
            shutil.copytree(place.bundle, place.root / "out" / "fp32"),
            ["export", place.teacher, "--data", place.reviews, *EXPORT],
        )[1],
        ("out/fp32: already exists",),
    ),
    "an export of a regressor by accuracy": (
        lambda place: [
            "export",
            place.copy(place.teacher, id2label={"0": "score"}, label2id={"score": 0}),
            *["--data", place.reviews, *EXPORT, "--metric", "accuracy"],
        ],
        ("has 1 outputs; --metric accuracy expects two or more",),
    ),
    "three text columns for an export": (
        lambda place: [
            "export",
            place.teacher,
            *["--data", place.reviews, *EXPORT],
            *["--text", "a", "--text", "b", "--text", "c"],
        ],
        ("a, b, c",),
    ),
    "an export of an encoder": (
        lambda place: ["export", place.base, "--data", place.reviews, *EXPORT],
        ("not a fine-tuned classifier",),
    ),
    "a variant that there is not": (
        lambda place: ["export", place.teacher, "--data", place.reviews, "--variant", "int3", *EXPORT],
        ("--variant int3: expected one of fp32, fp32-int8-embedding",),
    ),
    "a static variant without rows to calibrate on": (
        lambda place: ["export", place.teacher, "--data", place.reviews, "--variant", "int8-static", *EXPORT],
        ("--variant int8-static: needs --calibration, a table of other rows than --data",),
    ),
    "calibration on the very rows that it is judged by": (
        lambda place: [
            "export", place.teacher, "--data", place.reviews, "--calibration", place.reviews, "--variant",
            "int8-static", *EXPORT,
        ],
        ("calibration: 256 of its 256 rows are also in dev or test, the first",),
    ),
    "an export of nothing in particular": (
        lambda place: ["export", place.teacher, "--output", "out"],
        ("name a labelled table with --data",),
    ),
    "an explanation of what was never exported": (
        lambda place: ["explain", place.root],
        ("no run (results.json), bundle (bundle.json) or folder of bundles; `pocketbert export` makes bundles",),
    ),
    "an explanation of a bundle without proof": (
        lambda place: ["explain", without_proof(place)],
        ("bundle.json holds no proof; export the model again",),
    ),
    "a read-only place": (
        lambda place: ["export", place.teacher, "--data", place.reviews, *EXPORT[:-1], "/proc/bundles"],
        ("/proc/bundles",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BUNDLES)
def test_bundles(place, capsys, kind):
    arguments, expected = BUNDLES[kind]
    check(place, capsys, arguments(place), *expected)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("predict", ["a text"]),
        ("verify", []),
        ("serve", []),
        ("demo", []),
        ("package", ["--target", "aarch64"]),
        ("triton", ["--output", "repository"]),
        ("sign", ["--key", "key.pem"]),
        ("bench models", ["--effort", "quick"]),
    ],
)
def test_the_folder_of_a_run_in_place_of_a_bundle(place, capsys, command, options):
    bundle = place.root / "runs" / "tiny" / "bundles" / "fp32"
    shutil.copytree(place.bundle, bundle)
    write_key_pair(place.root)
    check(place, capsys, [*command.split(), place.root / "runs" / "tiny", *options], f"contains the bundles {bundle}")


def test_python_names_the_bundles_in_a_folder(place):
    bundle = place.root / "bundles" / "fp32"
    shutil.copytree(place.bundle, bundle)
    for function in (pocketbert.load, pocketbert.verify, pocketbert.bench):
        with pytest.raises(ValueError, match=f"it contains the bundles {bundle}"):
            function(place.root)


def without_proof(place: Place) -> Path:
    folder = place.copy(place.bundle)
    manifest = json.loads((folder / "bundle.json").read_text())
    del manifest["proof"]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def run_with(place: Place, *options: object, **files: str) -> list[object]:
    """A run into a folder that holds these files already."""
    folder = place.root / "runs" / "tiny"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content)
    return ["run", place.recipe(), *options]


def report_of(place: Place, content: str | None) -> list[object]:
    if content is not None:
        (place.root / "results.json").write_text(content)
    return ["report", place.root]


def run_onto_a_full_disk(place: Place) -> list[object]:
    arguments = run_with(place, manifest='{"format_version": 2, "stages": {}}')
    (place.root / "runs" / "tiny" / "log.txt").symlink_to("/dev/full")
    return arguments


def run_into_a_file(place: Place) -> list[object]:
    (place.root / "runs").write_text("a file")
    return ["run", place.recipe()]


RUNS: dict[str, tuple[Callable[[Place], list[object]], tuple[str, ...]]] = {
    "a foreign manifest": (
        lambda place: run_with(place, manifest='{"name": "a web app", "icons": []}'),
        ("manifest.json: not a manifest of a run", "move the folder away to start the run over"),
    ),
    "a manifest cut off": (lambda place: run_with(place, manifest='{"format_ver'), ("not a manifest of a run",)),
    "a manifest of a later version": (
        lambda place: run_with(place, manifest='{"format_version": 9, "stages": {}}'),
        ("format version 9, expected 2",),
    ),
    "a manifest that was edited": (
        lambda place: run_with(place, manifest='{"format_version": 2, "stages": {"teacher": {"files": 3}}}'),
        ("not a manifest of a run",),
    ),
    "a run folder of version 0.1.0": (
        lambda place: run_with(place, manifest='{"format_version": 1, "stages": {"teacher": {"metrics": {}}}}'),
        ("a run of PocketBERT 0.1.0", "choose another folder with --output, or move this one away"),
    ),
    "a full disk": (run_onto_a_full_disk, ("runs/tiny: No space left on device; finished work is kept",)),
    "a file in the folder's place": (run_into_a_file, ("runs",)),
    "a place where nothing can be written": (
        lambda place: ["run", place.recipe(), "--output", "/proc/run"],
        ("/proc/run",),
    ),
    "results without content": (
        lambda place: report_of(place, json.dumps({"format_version": FORMAT_VERSION})),
        ("results.json: a key is missing or invalid (name: Field required); run the recipe again",),
    ),
    "results that were edited": (lambda place: report_of(place, "{]"), ("results.json: no readable results",)),
    "results of a later version": (
        lambda place: report_of(place, '{"format_version": 9}'),
        (f"got format version 9, expected {FORMAT_VERSION}",),
    ),
    "results of an older version": (
        lambda place: report_of(place, '{"format_version": 4, "stages": {"bench": {}}}'),
        (f"got format version 4, expected {FORMAT_VERSION}; run the recipe or benchmark again into another folder",),
    ),
    "check of a foreign manifest": (
        lambda place: ["check", *run_with(place, manifest="[]")[1:]],
        ("not a manifest of a run",),
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_run_folders(place, capsys, kind):
    arguments, expected = RUNS[kind]
    check(place, capsys, arguments(place), *expected)


def test_a_second_process_in_the_run_folder(place, capsys):
    code = "import sys; from pocketbert.store.run_folder import Run; from pathlib import Path\n"
    code += "with Run(Path(sys.argv[1]), versions={}, announce=print): print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(place.root / "runs" / "tiny")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "open\n"
        check(place, capsys, ["run", place.recipe()], f"another run works in this folder (process {holder.pid})")
    finally:
        holder.kill()
        holder.communicate()


def test_how_many_kinds_there_are():
    assert len(RECIPES) >= 20 and len(TABLES) + len(TASKS) >= 15
    assert len(MODELS) + len(BUNDLES) >= 15 and len(RUNS) + 1 >= 10


def test_odd_but_sound_tables_are_read(place, capsys):
    """A byte-order mark, quotes, commas and line ends inside of quotes, blank lines, DOS line ends."""
    text = "".join(
        f'"He said ""{text}"", twice\n({index})",{label}\r\n\n' for index, (text, label) in enumerate(rows(40))
    )
    place.write("t.csv", b"\xef\xbb\xbf" + ("text,label\r\n" + text).encode())
    assert app.main(["check", place.recipe(task={"data": "t.csv", "max_length": 32})]) == 0
    assert "32 train, 8 dev" in capsys.readouterr().out


def test_a_fault_of_ours_is_reported_as_one_and_debug_prints_the_traceback(place, capsys, monkeypatch):
    monkeypatch.setattr("export.bundle.verification.verify_bundle", lambda folder: 1 / 0)
    assert app.main(["verify", str(place.bundle)]) == 1
    assert "error: a fault of PocketBERT: ZeroDivisionError: division by zero" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        app.main(["verify", str(place.bundle), "--debug"])


def test_labels_that_look_like_markup_are_printed_unchanged(place, capsys):
    lines = "".join(f'"text {index}",{"[/INST]" if index % 2 else "[bold]"}\n' for index in range(40))
    place.write("t.csv", "text,label\n" + lines)
    assert app.main(["check", place.recipe(task={"data": "t.csv", "max_length": 32})]) == 0
    assert "[/INST], [bold]" in capsys.readouterr().out
