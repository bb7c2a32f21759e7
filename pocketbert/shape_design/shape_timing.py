"""Builds students with random weights as export variants, and times them in one interleaved run. Loads torch."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import BertConfig, BertForSequenceClassification

from bench.measurement.stats import summarise
from bench.results.measurements import Summary
from bench.timing.latency import SETTLE_S
from compress.models.compatibility import Activation
from compress.models.shape import StudentShape
from export.bundle.runtime import session_config
from export.graph.fusion import EncoderShape
from export.graph.to_onnx import export_onnx
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS

VOCABULARY = 64  # rows of the timed embedding: a call reads only as many as the text has tokens
CALIBRATION_TEXTS, CALIBRATION_TOKENS = 4, 32
VISIT_S = 0.03  # of the timed calls of a visit
WARM_UP_CALLS, LEAST_CALLS, MOST_CALLS = 3, 3, 100

Inputs = Mapping[str, np.ndarray]


def build_model(shape: StudentShape, positions: int, variant: str, activation: Activation, folder: Path) -> Path:
    """A student with random weights as the ONNX file of a variant. Its vocabulary has VOCABULARY tokens."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=positions,
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        intermediate_size=shape.ffn_width,
        num_attention_heads=shape.heads,
        hidden_act=activation,
    )
    model = BertForSequenceClassification(config)
    raw, target = folder / "raw.onnx", folder / f"{shape_name(shape)}.onnx"
    export_onnx(model, raw)
    generator = np.random.default_rng(0)
    calibration = [random_text(generator, min(CALIBRATION_TOKENS, positions)) for _ in range(CALIBRATION_TEXTS)]
    build_variant(VARIANTS[variant], raw, target, EncoderShape.of(config), calibration, StaticOptions())
    raw.unlink()
    return target


def shape_name(shape: StudentShape) -> str:
    """The name of a shape: layers x width, feed-forward width and heads."""
    return f"{shape.layers} x {shape.width}, ffn {shape.ffn_width}, {shape.heads} heads"


def random_text(generator: np.random.Generator, tokens: int) -> Inputs:
    """A text of this many tokens as model inputs."""
    ids = generator.integers(1, VOCABULARY, (1, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def time_models(
    models: Sequence[Path],
    *,
    tokens: int,
    threads: int,
    rounds: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Summary]:
    """The latency of each model for one text of `tokens` tokens. Every round visits all models in random order."""
    sessions = [_session(model, threads) for model in models]
    inputs = dict(random_text(np.random.default_rng(0), tokens))
    visits: list[list[list[float]]] = [[] for _ in models]
    order, shuffle = list(range(len(models))), random.Random(0)
    for done in range(rounds):
        shuffle.shuffle(order)
        for index in order:
            time.sleep(SETTLE_S)
            visits[index].append(_visit(sessions[index], inputs))
        on_progress(done + 1, rounds)
    return [summarise([each]) for each in visits]


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session as that of a bundle."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for name, value in session_config(saturates=False).items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _visit(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> list[float]:
    """Seconds of each timed call."""
    clock = time.perf_counter
    started = clock()
    for _ in range(WARM_UP_CALLS):
        session.run(["logits"], inputs)
    per_call = (clock() - started) / WARM_UP_CALLS
    seconds = []
    for _ in range(min(MOST_CALLS, max(LEAST_CALLS, int(VISIT_S / per_call)))):
        started = clock()
        session.run(["logits"], inputs)
        seconds.append(clock() - started)
    return seconds
