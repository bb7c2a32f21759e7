"""Runs a contender inside a worker: a torch model, a bundle, a peer's model, or the TF-IDF baseline."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, assert_never

import numpy as np

from bench.timing.messages import ModelFacts, ModelSpec

if TYPE_CHECKING:
    from compress.data.task_types import TaskTypeName
    from export.results import SessionReport

BOUNDARIES = ("model", "tokenise + model", "text to label")  # what a timing includes, narrowest first
SYNTHETIC_TEXT = "the quick fox of "
DIAGNOSED_TOKENS = 8


class Runner(Protocol):
    """A loaded contender. `import_s`: seconds to import its libraries."""

    facts: ModelFacts
    import_s: float

    def time_answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Predict one text. Returns seconds by BOUNDARIES; the baseline has no tokens and returns only the last."""
        ...

    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None:
        """A call of the model on a prepared batch, without tokenisation; None if the model cannot take this length."""
        ...

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int] | None:
        """Number of tokens of each text; None for the baseline."""
        ...

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class or value of each text."""
        ...

    def diagnose(self) -> "SessionReport | None":
        """A report of how the engine runs the model; None if it provides none."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that takes tokens.

    `predictor`: implements `export.parity.predictors.Predictor`. `bind`: returns a call that runs the model on the
    given inputs, without tokenisation.
    """

    predictor: Any
    facts: ModelFacts
    import_s: float
    bind: Callable[[dict[str, Any]], Callable[[], object]]


def load_runner(spec: ModelSpec, num_threads: int) -> Runner:
    """Load a contender. Passes on exceptions of its library."""
    if spec.module is not None:
        return TokenModelRunner(spec, _load_peer(spec, spec.module, num_threads))
    match spec.engine:
        case "torch":
            return TokenModelRunner(spec, _load_torch(spec, num_threads))
        case "onnxruntime":
            return TokenModelRunner(spec, _load_bundle(spec, num_threads))
        case "scikit-learn":
            return BaselineRunner(spec, num_threads)
        case "openvino" | "ctranslate2":
            raise ValueError(f"got engine {spec.engine} without a module; only peers use it")


def synthetic_encoding(predictor: Any, length: int) -> Any:
    """The encoding of a text with `length` tokens, including special tokens; shorter if the predictor truncates it."""
    pair = [""] if getattr(predictor, "takes_pairs", False) else None
    encoding = predictor.encode([SYNTHETIC_TEXT * length], pair)[0]
    encoding.truncate(min(length, len(encoding)))
    return encoding


class TokenModelRunner:
    """Runs a model that takes tokens."""

    def __init__(self, spec: ModelSpec, model: LoadedModel) -> None:
        self.spec = spec
        self.predictor = model.predictor
        self.bind = model.bind
        self.facts = model.facts
        self.import_s = model.import_s

    def time_answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Predict one text. Returns seconds by BOUNDARIES."""
        started = time.perf_counter()
        inputs = self.predictor.model_inputs(self.predictor.encode([text], None if pair is None else [pair]))
        ready = time.perf_counter()
        logits = self.predictor.forward(inputs)
        answered = time.perf_counter()
        logits.argmax()
        if self.spec.slowed_by:
            until = started + (1 + self.spec.slowed_by) * (time.perf_counter() - started)
            while time.perf_counter() < until:
                pass
        return answered - ready, answered - started, time.perf_counter() - started

    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None:
        """A call of the model on a batch that is already on its device; None if the model cannot take this length."""
        encoding = synthetic_encoding(self.predictor, length)
        if len(encoding) < length:
            return None
        return self.bind(self.predictor.model_inputs([encoding] * batch))

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int]:
        """Number of tokens of each text after truncation, including special tokens."""
        return [len(encoding) for encoding in self.predictor.encode(texts, pairs)]

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class of each text, or the value of a regression.

        Repeats `TaskType.decide`, because its import would count as loading time.
        """
        logits: np.ndarray = self.predictor.logits(texts, pairs)
        task_type: TaskTypeName = self.predictor.task_type
        match task_type:
            case "classification":
                return logits.argmax(axis=1).tolist()
            case "regression":
                return logits[:, 0].tolist()
        assert_never(task_type)

    def diagnose(self) -> "SessionReport | None":
        """A report of a bundle's onnxruntime session; None for torch models and peers."""
        if self.spec.engine != "onnxruntime" or self.spec.module is not None:
            return None
        from export.bundle.runtime import session_config, with_provider_options
        from export.parity.session_report import report_session

        bundle = self.predictor
        return report_session(
            Path(self.spec.path) / "onnx" / "model.onnx",
            bundle.model_inputs([synthetic_encoding(bundle, DIAGNOSED_TOKENS)]),
            with_provider_options([self.facts.ran_on]),
            session_config(saturates=bundle.saturates),
        )


class BaselineRunner:
    """Runs the TF-IDF baseline."""

    def __init__(self, spec: ModelSpec, num_threads: int) -> None:
        started = time.perf_counter()
        import joblib
        import sklearn.linear_model  # noqa: F401  # so that its import does not count as loading time

        self.import_s = time.perf_counter() - started
        self.model = joblib.load(spec.path)
        weights = self.model[-1]
        num_parameters = int(weights.coef_.size + weights.intercept_.size)
        self.facts = ModelFacts(num_threads=num_threads, ran_on="cpu", num_parameters=num_parameters)

    def time_answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Predict one text. Returns seconds from text to label."""
        started = time.perf_counter()
        self.model.predict([text if pair is None else f"{text} {pair}"])
        return (time.perf_counter() - started,)

    def run_tokens(self, batch: int, length: int) -> None:
        """None: the baseline has no tokens."""

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
        """None: the baseline has no tokens."""

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class or value of each text."""
        rows = texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]
        return self.model.predict(list(rows)).tolist()

    def diagnose(self) -> None:
        """None: scikit-learn provides no report."""


def _load_torch(spec: ModelSpec, num_threads: int) -> LoadedModel:
    if spec.precision == "int8" or spec.precision == "int4":
        raise ValueError(f"got precision {spec.precision}; expected fp32, bf16 or fp16 in torch")
    started = time.perf_counter()
    import torch

    from compress.models import loading
    from export.parity.predictors import TorchPredictor

    import_s = time.perf_counter() - started
    torch.set_num_threads(num_threads)
    on_gpu = spec.device == "cuda"
    predictor = TorchPredictor(
        spec.path,
        device=spec.device,
        precision=spec.precision,
        max_length=spec.max_length,
        random_head=spec.random_head,
        compiled=spec.compiled,
    )

    def bind(inputs: dict[str, Any]) -> Callable[[], object]:
        def call() -> None:
            with torch.inference_mode():
                predictor.compute(inputs)
                if on_gpu:
                    torch.cuda.synchronize()

        return call

    facts = ModelFacts(
        num_threads=torch.get_num_threads(),
        ran_on=torch.cuda.get_device_name() if on_gpu else "cpu",
        num_parameters=loading.num_parameters(predictor.model),
    )
    return LoadedModel(predictor=predictor, facts=facts, import_s=import_s, bind=bind)


def _load_bundle(spec: ModelSpec, num_threads: int) -> LoadedModel:
    started = time.perf_counter()
    from export.bundle.runtime import Classifier

    import_s = time.perf_counter() - started
    requested = f"{spec.device.upper()}ExecutionProvider"
    bundle = Classifier(spec.path, num_threads=num_threads, providers=[requested])
    ran_on = bundle.session.get_providers()[0]
    if ran_on != requested:
        raise RuntimeError(f"{requested} was requested; onnxruntime uses {ran_on}")

    def bind(inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        batch, length = inputs["input_ids"].shape
        rows = max(1, int(min(batch, bundle.tokens_per_call // length)))  # of one call, as `logits` splits a batch
        parts = [
            {name: values[start : start + rows] for name, values in inputs.items()} for start in range(0, batch, rows)
        ]
        bindings = [_binding(bundle.session, spec.device, part) for part in parts]

        def call() -> None:
            for binding in bindings:
                bundle.session.run_with_iobinding(binding)
                binding.synchronize_outputs()

        return call

    facts = ModelFacts(num_threads=bundle.session.get_session_options().intra_op_num_threads, ran_on=ran_on)
    return LoadedModel(predictor=bundle, facts=facts, import_s=import_s, bind=bind)


def _binding(session: Any, device: str, inputs: dict[str, np.ndarray]) -> Any:
    """Inputs that are already on the device, and the logits there."""
    binding = session.io_binding()
    for name, values in inputs.items():
        binding.bind_ortvalue_input(name, _on_device(device, np.ascontiguousarray(values)))
    binding.bind_output("logits", device)
    return binding


def _on_device(device: str, values: np.ndarray) -> Any:
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(values, device, 0)


def _load_peer(spec: ModelSpec, module_name: str, num_threads: int) -> LoadedModel:
    started = time.perf_counter()
    module = importlib.import_module(module_name)
    import_s = time.perf_counter() - started
    predictor = module.load_predictor(spec.path, num_threads=num_threads)

    def bind(inputs: dict[str, np.ndarray]) -> Callable[[], object]:
        return lambda: predictor.forward(inputs)

    return LoadedModel(predictor=predictor, facts=predictor.facts, import_s=import_s, bind=bind)
