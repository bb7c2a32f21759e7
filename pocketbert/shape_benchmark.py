"""`pocketbert bench-shapes`: the size and speed columns of TinyBERT's Table 1, measured here, on random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    MobileBertConfig,
    MobileBertForSequenceClassification,
    PreTrainedModel,
)

from bench import machine
from bench.contenders import Contender, contenders_at
from compress.cells import Split
from compress.encoding import encode_split
from compress.errors import UserError
from compress.files import write_json
from compress.inference import predict_logits
from compress.metrics import decide
from compress.models import num_parameters, save_model
from compress.progress import ProgressBar
from export.calibration import calibration_rows
from export.candidates import Origin, Rows, build_candidates
from export.parity import default_tolerance
from export.static import Static
from export.variants import VARIANTS
from pocketbert.folder_benchmark import MADE_UP_WORDS, Question, made_up_texts, of_contenders

VOCABULARY = 30522  # pieces, as BERT's
MAX_LENGTH = 128
WITH_BUNDLES = ("BERT-base", "TinyBERT4", "TinyBERT6")
BUNDLED_AS = ("fp32", "int8-static")
SHORT: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": 512}
RANDOM = " (random weights)"
ROWS = 64  # texts on which a bundle is looked at, and calibrated
PAPER_TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A row of TinyBERT's Table 1 (Jiao et al., 2020): millions of parameters, billions of operations, and how many
    times as fast as BERT-base on an NVIDIA K80; None where the paper leaves it out.
    """

    parameters: float
    operations: float
    times: float | None


PAPER = {
    "BERT-base": Paper(parameters=109, operations=22.5, times=1.0),
    "TinyBERT4": Paper(parameters=14.5, operations=1.2, times=9.4),
    "TinyBERT6": Paper(parameters=67.0, operations=11.3, times=2.0),
    "DistilBERT6": Paper(parameters=67.0, operations=11.3, times=2.0),
    "MobileBERT-tiny": Paper(parameters=15.1, operations=3.1, times=None),
}


def shape(name: str) -> PreTrainedModel:
    """A classifier of the named row's shape, with random weights."""
    torch.manual_seed(0)
    match name:
        case "DistilBERT6":
            return DistilBertForSequenceClassification(DistilBertConfig(**SHORT))
        case "MobileBERT-tiny":
            narrow: dict[str, Any] = {"intra_bottleneck_size": 128, "num_feedforward_networks": 2}
            light: dict[str, Any] = {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False}
            return MobileBertForSequenceClassification(MobileBertConfig(**SHORT, **narrow, **light))
    layers, width, ffn_width = {"BERT-base": (12, 768, 3072), "TinyBERT4": (4, 312, 1200), "TinyBERT6": (6, 768, 3072)}[
        name
    ]
    sizes: dict[str, Any] = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": ffn_width}
    return BertForSequenceClassification(BertConfig(**SHORT, **sizes, num_attention_heads=12))


def of_shapes(names: Sequence[str], question: Question, *, output: Path | None, console: Console) -> dict[str, Any]:
    """Each shape in torch, and TinyBERT's and BERT-base also as bundles; returns the content of results.json.

    `names`: of PAPER; none: all. Beside what a benchmark tells: `paper`, the rows of Table 1 with what was counted and
    measured here. Raises UserError.
    """
    names = names or tuple(PAPER)
    for name in names:
        if name not in PAPER:
            raise UserError(f"--shape {name}: expected some of {', '.join(PAPER)}")
    tokenizer = _tokenizer()
    with TemporaryDirectory() as scratch:
        models: dict[str, PreTrainedModel] = {}
        contenders: list[Contender] = []
        bundled = [name for name in names if name in WITH_BUNDLES]
        for name in names:
            models[name] = shape(name)
            save_model(models[name], tokenizer, Path(scratch) / name)
            contenders += contenders_at(Path(scratch) / name, name=f"{name}{RANDOM}", max_length=MAX_LENGTH)
        for name in bundled:
            for bundle in _bundles(name, models[name], tokenizer, Path(scratch) / f"{name}-bundles", console):
                contenders += contenders_at(bundle, name=f"{name}{RANDOM} {bundle.name}")
        steps = {
            f"{name} int8-static": [
                ("", f"BERT-base{RANDOM}, torch fp32"),
                ("distillation", f"{name}{RANDOM}, torch fp32"),
                ("runtime", f"{name}{RANDOM} fp32, onnxruntime"),
                ("int8-static", f"{name}{RANDOM} int8-static, onnxruntime"),
            ]
            for name in bundled
            if name != "BERT-base" and "BERT-base" in names
        }
        teachers = [contender.name for contender in contenders if contender.name.startswith("BERT-base")]
        results = of_contenders(
            contenders,
            question,
            name="The shapes of TinyBERT's Table 1, with random weights",
            command=["bench-shapes", *(part for name in names for part in ("--shape", name))],
            words="with weights drawn by the same seed",
            output=output,
            console=console,
            steps=steps,
            others={each[-1][1]: teachers for each in steps.values()},
        )
    results["paper"] = [_beside_paper(name, models[name], results["stages"]["bench"]["rows"]) for name in names]
    if output is not None:
        write_json(output / "results.json", results)
    return results


def _tokenizer() -> BertTokenizer:
    """BERT's, with as many pieces as its own: the words that the benchmark makes texts of, and others."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(MADE_UP_WORDS.split())]
    others = [f"piece{number}" for number in range(VOCABULARY - len(words))]
    vocabulary = {word: index for index, word in enumerate([*words, *others])}
    return BertTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)


def _bundles(name: str, model: PreTrainedModel, tokenizer: BertTokenizer, folder: Path, console: Console) -> list[Path]:
    """The shape as bundles. That random weights may not agree with torch on a label is of no interest here."""
    texts = made_up_texts(2 * ROWS)
    rows = Split(texts=texts[:ROWS], pairs=None, labels=np.zeros(ROWS, dtype=np.int64))
    rows = replace(rows, labels=decide(predict_logits(model, encode_split(rows, tokenizer, max_length=MAX_LENGTH))))
    others = Split(texts=texts[ROWS:], pairs=None, labels=np.arange(ROWS) % 2)
    folder.mkdir()
    with ProgressBar(f"{name} as bundles", console) as bar:
        build_candidates(
            model,
            tokenizer,
            folder,
            rows=Rows(dev=rows, calibration=calibration_rows(others, seed=0, count=ROWS)),
            max_length=MAX_LENGTH,
            metric="accuracy",
            tolerances={VARIANTS[variant]: default_tolerance(VARIANTS[variant]) for variant in BUNDLED_AS},
            static=Static(),
            origin=Origin(
                name=f"{name}{RANDOM}", origin={"weights": "random"}, versions=machine.package_versions(), measured={}
            ),
            on_progress=bar.update,
        )
    return [folder / variant for variant in BUNDLED_AS]


def _beside_paper(name: str, model: PreTrainedModel, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of Table 1 beside what it is here: counted, and timed in torch at PAPER_TOKENS."""
    row = next(row for row in rows if row["name"] == f"{name}{RANDOM}, torch fp32")
    with FlopCounterMode(display=False) as counter:
        model.eval()(input_ids=torch.ones(1, PAPER_TOKENS, dtype=torch.long))
    return {
        "name": name,
        "paper": asdict(PAPER[name]),
        "parameters": num_parameters(model) / 1e6,
        "operations": counter.get_total_flops() / 1e9,
        "times": (row["tokens_ratio"] or {}).get(f"1x{PAPER_TOKENS}"),
    }
