"""`pocketbert bench shapes`: the size and speed columns of TinyBERT's Table 1, measured with random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

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

from bench.measurement import machine
from bench.results.benchmark import BenchmarkRow
from bench.results.document import FILE as RESULTS_FILE
from bench.results.document import PublishedShape, Results, ShapeComparison, write_results
from bench.timing.systems import Breakdown, Contender, Lineup, breakdown_of, contenders_at, shape_name
from compress.common.errors import UserError
from compress.common.files import disk_errors
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import ProgressBar
from compress.data.columns import Split
from compress.data.task_types import Classification
from compress.data.tokenization import encode_split
from compress.models.inference import predict_logits
from compress.models.loading import num_parameters, save_model
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles
from export.parity.comparison import default_tolerance
from export.quantisation.calibration import calibration_rows
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS
from pocketbert.standalone.bench_models import (
    MADE_UP_WORDS,
    OUTPUT_FILES,
    BenchRequest,
    bench_contenders,
    made_up_texts,
)

VOCABULARY = 30522  # tokens, as in BERT
MAX_LENGTH = 128
BASE = "BERT-base"
WITH_BUNDLES = (BASE, "TinyBERT4", "TinyBERT6")
BUNDLED_AS = ("fp32", "int8-static")
POSITIONS = 512
RANDOM = " (random weights)"
ROWS = 64  # texts for the parity check of a bundle, and as many for its calibration
PAPER_TOKENS = 128
PAPER = {  # TinyBERT's Table 1
    BASE: PublishedShape(parameters=109, operations=22.5, times=1.0),
    "TinyBERT4": PublishedShape(parameters=14.5, operations=1.2, times=9.4),
    "TinyBERT6": PublishedShape(parameters=67.0, operations=11.3, times=2.0),
    "DistilBERT6": PublishedShape(parameters=67.0, operations=11.3, times=2.0),
    "MobileBERT-tiny": PublishedShape(parameters=15.1, operations=3.1, times=None),
}


def shape(name: str) -> PreTrainedModel:
    """A classifier of the named row's shape, with random weights."""
    torch.manual_seed(0)
    match name:
        case "DistilBERT6":
            return DistilBertForSequenceClassification(
                DistilBertConfig(vocab_size=VOCABULARY, max_position_embeddings=POSITIONS)
            )
        case "MobileBERT-tiny":
            return MobileBertForSequenceClassification(
                MobileBertConfig(
                    vocab_size=VOCABULARY,
                    max_position_embeddings=POSITIONS,
                    intra_bottleneck_size=128,
                    num_feedforward_networks=2,
                    use_bottleneck_attention=True,
                    key_query_shared_bottleneck=False,
                )
            )
    layers, width, ffn_width = {BASE: (12, 768, 3072), "TinyBERT4": (4, 312, 1200), "TinyBERT6": (6, 768, 3072)}[name]
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
            num_hidden_layers=layers,
            hidden_size=width,
            intermediate_size=ffn_width,
            num_attention_heads=12,
        )
    )


def bench_shapes(names: Sequence[str], request: BenchRequest, *, output: Path | None, console: Console) -> Results:
    """Benchmark each shape in torch, and TinyBERT's and BERT-base also as bundles.

    `shapes` of the results compares Table 1 with the counts and times measured here. `names`: keys of PAPER; empty for
    all. Raises UserError.
    """
    if output is not None:
        require_writable(output, OUTPUT_FILES)
    names = names or tuple(PAPER)
    for name in names:
        if name not in PAPER:
            raise UserError(f"--shape {name}: expected some of {', '.join(PAPER)}")
    tokenizer = _tokenizer()
    with TemporaryDirectory() as scratch, disk_errors(Path(scratch)):
        models: dict[str, PreTrainedModel] = {}
        in_torch: dict[str, Contender] = {}
        for name in names:
            models[name] = shape(name)
            save_model(models[name], tokenizer, Path(scratch) / name)
            (in_torch[name],) = contenders_at(Path(scratch) / name, label=f"{name}{RANDOM}", max_length=MAX_LENGTH)
        bundled: dict[str, list[Contender]] = {}
        for name in names:
            if name in WITH_BUNDLES:
                folders = _bundles(name, models[name], tokenizer, Path(scratch) / f"{name}-bundles", console)
                bundled[name] = [
                    contender
                    for folder in folders
                    for contender in contenders_at(folder, label=f"{name}{RANDOM} {folder.name}")
                ]
        lineup = _lineup(in_torch, bundled)
        results = bench_contenders(
            lineup,
            request,
            name="The shapes of TinyBERT's Table 1, with random weights",
            command=["bench", "shapes", *(part for name in names for part in ("--shape", name))],
            words="with the same random weights",
            output=output,
            console=console,
        )
    rows = results.stages.bench.rows
    shapes = [_compare(name, models[name], rows[lineup.id_of(in_torch[name])]) for name in names]
    results = replace(results, shapes=shapes)
    if output is not None:
        with open_output(output, OUTPUT_FILES).writing(RESULTS_FILE):
            write_results(results, output)
    return results


def _lineup(in_torch: Mapping[str, Contender], bundled: Mapping[str, Sequence[Contender]]) -> Lineup:
    """All shapes. The int8 bundles of the smaller ones are compared with BERT-base, if it is among them."""
    base = in_torch.get(BASE)
    breakdowns: list[Breakdown] = []
    if base is not None:
        for name, (fp32, int8) in bundled.items():
            if name != BASE:
                breakdowns.append(breakdown_of(base, in_torch[name], fp32, int8))
    return Lineup(
        contenders=[*in_torch.values(), *(each for bundles in bundled.values() for each in bundles)],
        breakdowns=breakdowns,
        compared={each.end: [each.start, *bundled[BASE]] for each in breakdowns},
    )


def _tokenizer() -> BertTokenizer:
    """A tokenizer with as many tokens as BERT's: the words of the generated sentences, and placeholders."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(MADE_UP_WORDS.split())]
    others = [f"piece{number}" for number in range(VOCABULARY - len(words))]
    vocabulary = {word: index for index, word in enumerate([*words, *others])}
    return BertTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)


def _bundles(name: str, model: PreTrainedModel, tokenizer: BertTokenizer, folder: Path, console: Console) -> list[Path]:
    """Bundles of the shape. Their parity with torch is ignored: labels of random weights flip easily."""
    texts = made_up_texts(2 * ROWS)
    rows = Split(texts=texts[:ROWS], pairs=None, labels=np.zeros(ROWS, dtype=np.int64))
    logits = predict_logits(model, encode_split(rows, tokenizer, max_length=MAX_LENGTH))
    rows = replace(rows, labels=Classification().decide(logits))
    others = Split(texts=texts[ROWS:], pairs=None, labels=np.arange(ROWS) % 2)
    folder.mkdir()
    with ProgressBar(f"{name} as bundles", console) as bar:
        build_bundles(
            model,
            tokenizer,
            folder,
            splits=EvaluationSplits(
                dev=rows, calibration=calibration_rows(others, task_type="classification", seed=0, count=ROWS)
            ),
            options=ExportOptions(
                task_type="classification",
                metric="accuracy",
                max_length=MAX_LENGTH,
                tolerances={VARIANTS[variant]: default_tolerance(VARIANTS[variant]) for variant in BUNDLED_AS},
                static=StaticOptions(),
            ),
            origin=Origin(
                name=f"{name}{RANDOM}", origin={"weights": "random"}, versions=machine.package_versions(), measured={}
            ),
            on_progress=bar.update,
        )
    return [folder / variant for variant in BUNDLED_AS]


def _compare(name: str, model: PreTrainedModel, row: BenchmarkRow) -> ShapeComparison:
    """A row of Table 1 and the same figures measured here, in torch at PAPER_TOKENS. `row`: the timed model."""
    with FlopCounterMode(display=False) as counter:
        model.eval()(input_ids=torch.ones(1, PAPER_TOKENS, dtype=torch.long))
    return ShapeComparison(
        name=name,
        paper=PAPER[name],
        parameters=num_parameters(model) / 1e6,
        operations=counter.get_total_flops() / 1e9,
        times=row.speedup_by_shape.get(shape_name((1, PAPER_TOKENS))),
    )
