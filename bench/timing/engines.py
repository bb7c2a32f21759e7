"""What runs a contender in its process: a torch model, a bundle, a peer's model, or the floor."""

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

BOUNDARIES = ("model", "tokenise + model", "text to label")  # what is timed, from the narrowest on
SYNTHETIC_TEXT = "the quick fox of "
DIAGNOSED_TOKENS = 8


class Runner(Protocol):
    """One contender, loaded. `import_s`: how long its libraries took before that."""

    facts: ModelFacts
    import_s: float

    def answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Seconds of one text, by BOUNDARIES; the floor, which has no tokens, has the last alone."""
        ...

    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None:
        """A call of the model alone on that many tokens; None where it takes fewer."""
        ...

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int] | None:
        """Tokens of each text; None of the floor."""
        ...

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class (or value) of each text."""
        ...

    def diagnose(self) -> "SessionReport | None":
        """What the runtime made of the model; None where it does not say."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model over tokens. `predictor`: implements `export.parity.predictors.Predictor`; `alone`: makes a call of the
    model alone from its columns.
    """

    predictor: Any
    facts: ModelFacts
    import_s: float
    alone: Callable[[dict[str, Any]], Callable[[], object]]


def load(spec: ModelSpec, num_threads: int) -> Runner:
    """The runner of a contender. Raises what its library raises."""
    if spec.module is not None:
        return TokenModelRunner(spec, _peer(spec, spec.module, num_threads))
    match spec.engine:
        case "torch":
            return TokenModelRunner(spec, _torch(spec, num_threads))
        case "onnxruntime":
            return TokenModelRunner(spec, _bundle(spec, num_threads))
        case "scikit-learn":
            return BaselineRunner(spec, num_threads)
        case "openvino":
            raise ValueError("openvino runs the models of peers alone, which name their module")


def synthetic(predictor: Any, length: int) -> Any:
    """A text of that many tokens, special ones included, encoded; of fewer where the predictor takes no more."""
    pair = [""] if getattr(predictor, "takes_pairs", False) else None
    words = predictor.encode([SYNTHETIC_TEXT * length], pair)[0]
    words.truncate(min(length, len(words)))
    return words


class TokenModelRunner:
    """A model over tokens."""

    def __init__(self, spec: ModelSpec, model: LoadedModel) -> None:
        self.spec = spec
        self.predictor = model.predictor
        self.alone = model.alone
        self.facts = model.facts
        self.import_s = model.import_s

    def answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Seconds of one text, by BOUNDARIES."""
        started = time.perf_counter()
        columns = self.predictor.columns(self.predictor.encode([text], None if pair is None else [pair]))
        ready = time.perf_counter()
        logits = self.predictor.forward(columns)
        answered = time.perf_counter()
        logits.argmax()
        if self.spec.slowed_by:
            until = started + (1 + self.spec.slowed_by) * (time.perf_counter() - started)
            while time.perf_counter() < until:
                pass
        return answered - ready, answered - started, time.perf_counter() - started

    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None:
        """A call of the model alone on that many tokens, its inputs where it computes; None where it takes fewer."""
        words = synthetic(self.predictor, length)
        if len(words) < length:
            return None
        return self.alone(self.predictor.columns([words] * batch))

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[int]:
        """Tokens of each text, special ones included, cut where the model cuts."""
        return [len(encoding) for encoding in self.predictor.encode(texts, pairs)]

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class of each text; of a regression its value.

        As `TaskType.decide`, whose import would count as loading.
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
        """Of a bundle, its session; None of a torch model, and of a peer's."""
        if self.spec.engine != "onnxruntime" or self.spec.module is not None:
            return None
        from export.bundle.runtime import session_config, with_options
        from export.parity.session_report import report_session

        bundle = self.predictor
        return report_session(
            Path(self.spec.path) / "onnx" / "model.onnx",
            bundle.columns([synthetic(bundle, DIAGNOSED_TOKENS)]),
            with_options([self.facts.ran_on]),
            session_config(saturates=bundle.saturates),
        )


class BaselineRunner:
    """TF-IDF and logistic regression."""

    def __init__(self, spec: ModelSpec, num_threads: int) -> None:
        started = time.perf_counter()
        import joblib
        import sklearn.linear_model  # noqa: F401  # that its import is not counted as loading

        self.import_s = time.perf_counter() - started
        self.model = joblib.load(spec.path)
        weights = self.model[-1]
        num_parameters = int(weights.coef_.size + weights.intercept_.size)
        self.facts = ModelFacts(num_threads=num_threads, ran_on="cpu", num_parameters=num_parameters)

    def answer(self, text: str, pair: str | None) -> tuple[float, ...]:
        """Seconds from text to label."""
        started = time.perf_counter()
        self.model.predict([text if pair is None else f"{text} {pair}"])
        return (time.perf_counter() - started,)

    def run_tokens(self, batch: int, length: int) -> None:
        """It has no tokens."""

    def lengths(self, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
        """It has no tokens."""

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        """The class (or value) of each text."""
        rows = texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]
        return self.model.predict(list(rows)).tolist()

    def diagnose(self) -> None:
        """It has no runtime."""


def _torch(spec: ModelSpec, num_threads: int) -> LoadedModel:
    if spec.precision == "int8" or spec.precision == "int4":
        raise ValueError(f"{spec.precision}: expected fp32, bf16 or fp16 in torch")
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

    def alone(columns: dict[str, Any]) -> Callable[[], object]:
        def call() -> None:
            with torch.inference_mode():
                predictor.compute(columns)
                if on_gpu:
                    torch.cuda.synchronize()

        return call

    facts = ModelFacts(
        num_threads=torch.get_num_threads(),
        ran_on=torch.cuda.get_device_name() if on_gpu else "cpu",
        num_parameters=loading.num_parameters(predictor.model),
    )
    return LoadedModel(predictor=predictor, facts=facts, import_s=import_s, alone=alone)


def _bundle(spec: ModelSpec, num_threads: int) -> LoadedModel:
    started = time.perf_counter()
    from export.bundle.runtime import Classifier

    import_s = time.perf_counter() - started
    wanted = f"{spec.device.upper()}ExecutionProvider"
    bundle = Classifier(spec.path, num_threads=num_threads, providers=[wanted])
    ran_on = bundle.session.get_providers()[0]
    if ran_on != wanted:
        raise RuntimeError(f"{wanted} was asked for; onnxruntime runs {ran_on}")

    def alone(columns: dict[str, np.ndarray]) -> Callable[[], object]:
        binding = bundle.session.io_binding()
        for name, values in columns.items():
            binding.bind_ortvalue_input(name, _on(spec.device, values))
        binding.bind_output("logits", spec.device)

        def call() -> None:
            bundle.session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return call

    facts = ModelFacts(num_threads=bundle.session.get_session_options().intra_op_num_threads, ran_on=ran_on)
    return LoadedModel(predictor=bundle, facts=facts, import_s=import_s, alone=alone)


def _on(device: str, values: np.ndarray) -> Any:
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(values, device, 0)


def _peer(spec: ModelSpec, module_name: str, num_threads: int) -> LoadedModel:
    started = time.perf_counter()
    module = importlib.import_module(module_name)
    import_s = time.perf_counter() - started
    predictor = module.Predictor(spec.path, num_threads=num_threads)

    def alone(columns: dict[str, np.ndarray]) -> Callable[[], object]:
        return lambda: predictor.forward(columns)

    return LoadedModel(predictor=predictor, facts=predictor.facts, import_s=import_s, alone=alone)
