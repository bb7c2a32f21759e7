"""The contenders of a benchmark, their order, and the workload that all of them share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.results.benchmark import AbsentSystem, Device, Precision, Role, Step, System
from bench.timing.messages import ModelSpec
from compress.common.errors import UserError
from compress.common.files import files_in
from compress.common.wording import shorten
from compress.data.metrics import Positive
from compress.data.task_types import TaskTypeName
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import BUNDLE_FILE, bundles_in
from export.quantisation.variants import VARIANTS, Weights

Shape = tuple[int, int]

GRID_LENGTHS = (16, 32, 64, 128)
MOST_DIGITS, MOST_TOKENS_AT_ONCE = 7, 1_000_000  # of a shape as typed
GRID_BATCH_LENGTH = 32  # tokens per text in the batches of the grid
GRID: tuple[Shape, ...] = (*((1, length) for length in GRID_LENGTHS), (16, GRID_BATCH_LENGTH))


def parse_shape(name: str) -> Shape:
    """Parse a shape: "16x32" means 16 texts of 32 tokens. Raises UserError for anything else."""
    batch, _, length = name.partition("x")
    if not (batch.isdecimal() and length.isdecimal() and int(batch) > 0 and int(length) > 3):
        raise UserError(
            f"got the shape {shorten(name)!r}; expected texts x tokens, as 1x64 or 16x32, with at least 4 tokens"
        )
    if max(len(batch), len(length)) > MOST_DIGITS or int(batch) * int(length) > MOST_TOKENS_AT_ONCE:
        raise UserError(f"got the shape {shorten(name)!r}; expected at most {MOST_TOKENS_AT_ONCE:,} tokens in total")
    return int(batch), int(length)


def shape_name(shape: Shape) -> str:
    """The name of a shape in results.json: texts x tokens."""
    return f"{shape[0]}x{shape[1]}"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One system of the benchmark, with all that is needed to run it.

    No field can favour a contender: threads, rounds and warm-up are those of the protocol. `num_parameters`: given if
    the engine cannot count them. `is_aa_control`: the A/A control, a copy of another contender. `slowed_by`: artificial
    slowdown to test sensitivity; 0.1 adds 10 % to the time of each text. `module`: the module that runs a peer's model;
    `python`: the interpreter of the peer's environment.
    """

    system: System
    path: str
    max_length: int | None = None
    num_parameters: int | None = None
    is_aa_control: bool = False
    slowed_by: float = 0.0
    module: str | None = None
    python: str | None = None

    @property
    def name(self) -> str:
        """The display name, for messages."""
        return f"{self.system.name} (A/A control)" if self.is_aa_control else self.system.name

    @property
    def is_bundle(self) -> bool:
        """Whether it is a PocketBERT bundle. A peer's model in onnxruntime is not."""
        return self.system.engine == "onnxruntime" and self.module is None

    @property
    def is_scored(self) -> bool:
        """Whether its predictions are compared with the labels."""
        return not (self.system.random_head or self.is_aa_control)

    def spec(self) -> ModelSpec:
        """The model for the contender's worker to load."""
        return ModelSpec(
            engine=self.system.engine,
            path=self.path,
            device=self.system.device,
            precision=self.system.precision,
            max_length=self.max_length,
            compiled=self.system.compiled,
            random_head=self.system.random_head,
            slowed_by=self.slowed_by,
            module=self.module,
        )


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The steps of a speedup from `start` to `end`. Each step names the change and the contender that it leads to."""

    start: Contender
    steps: Sequence[tuple[Step, Contender]]

    @property
    def end(self) -> Contender:
        """The contender whose speedup is broken down."""
        return self.steps[-1][1]


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """The contenders of a benchmark, in the order of its rows.

    `absent`: systems that could not take part. `breakdowns`: speedups to break down by step. `compared`: further
    contenders that each one is compared with, in addition to the first on its device.
    """

    contenders: Sequence[Contender]
    absent: Sequence[AbsentSystem] = ()
    breakdowns: Sequence[Breakdown] = ()
    compared: Mapping[Contender, Sequence[Contender]] = field(default_factory=dict)

    def id_of(self, contender: Contender) -> int:
        """The `id` of the contender's row."""
        return self.contenders.index(contender)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The inputs on which every contender is timed.

    `texts`, `pairs`: real texts of the task. `labels`: their classes or values, if known, in the form of `task_type`.
    `num_labels`: number of labels of the task. `positive`: the class of the metric f1, for two classes. `grid`: shapes
    on which the model is timed without tokenisation (texts per batch, tokens per text including special tokens).
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    labels: Sequence[float] | None = None
    num_labels: int = 0
    positive: Positive | None = None
    task_type: TaskTypeName = "classification"
    grid: Sequence[Shape] = GRID


def select_texts(workload: Workload, indices: Sequence[int]) -> dict[str, list[str] | None]:
    """The texts and pairs at the given indices, as arguments of a worker's command."""
    return {
        "texts": [workload.texts[i] for i in indices],
        "pairs": None if workload.pairs is None else [workload.pairs[i] for i in indices],
    }


def files_of(contender: Contender) -> list[Path]:
    """The model's files: weights, tokenizer and configuration of a Hugging Face folder, else all files."""
    path = Path(contender.path)
    return sources.model_files(path) if contender.system.engine == "torch" else files_in(path)


def with_aa_control(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders, followed by an A/A control.

    The control is a copy of the last model or bundle on the first contender's device, except baselines, peers and
    compiled models.
    """
    device = contenders[0].system.device
    eligible = [
        contender
        for contender in contenders
        if contender.system.role not in ("baseline", "peer")
        and not contender.system.compiled
        and contender.system.device == device
    ]
    return [*contenders, *(replace(contender, is_aa_control=True) for contender in eligible[-1:])]


def contenders_at(
    path: Path,
    *,
    role: Role = "model",
    label: str | None = None,
    device: Device = "cpu",
    max_length: int | None = None,
    num_parameters: int | None = None,
    compiled: bool = False,
) -> list[Contender]:
    """The contenders of a folder: a bundle runs in onnxruntime, a Hugging Face folder in torch, on CUDA also in fp16.

    `label`: by default the folder's name. `num_parameters`: of a bundle. `compiled`: adds torch models with
    torch.compile. An encoder without fine-tuning gets a head of random weights, and is not scored. Raises UserError if
    the folder is neither.
    """
    label = label or path.name
    if (path / BUNDLE_FILE).is_file():
        variant = read_bundle_info(path).variant
        if variant not in VARIANTS:
            raise UserError(f"{path}: got the variant {variant}; expected one of {', '.join(VARIANTS)}")
        system = System(
            label=label,
            role=role,
            engine="onnxruntime",
            device=device,
            precision=_precision_of(VARIANTS[variant].weights),
            variant=variant,
        )
        return [Contender(system=system, path=str(path), num_parameters=num_parameters)]
    if not (path / "config.json").is_file():
        raise UserError(
            f"{path}: neither a bundle (bundle.json) nor a Hugging Face folder (config.json){bundles_in(path)}"
        )
    random_head = not sources.is_classifier(str(path))
    precisions: tuple[Precision, ...] = ("fp32",) if device == "cpu" else ("fp32", "fp16")
    systems = [
        System(
            label=label,
            role=role,
            engine="torch",
            device=device,
            precision=precision,
            compiled=with_compile,
            random_head=random_head,
        )
        for precision in precisions
        for with_compile in ([False, True] if compiled else [False])
    ]
    return [Contender(system=system, path=str(path), max_length=max_length) for system in systems]


def breakdown_of(teacher: Contender, student: Contender, fp32: Contender | None, bundle: Contender) -> Breakdown:
    """The steps from the teacher in torch to the student in torch, to its fp32 bundle (if any), to the given bundle."""
    steps: list[tuple[Step, Contender]] = [("distillation", student)]
    if fp32 is not None:
        steps.append(("runtime", fp32))
    if bundle != fp32:
        steps.append(("quantisation", bundle))
    return Breakdown(start=teacher, steps=steps)


def _precision_of(weights: Weights) -> Precision:
    """The precision of a bundle's weights."""
    match weights:
        case "fp32" | "fp16":
            return weights
        case "int8-dynamic" | "int8-static" | "int8-weight":
            return "int8"
        case "int4-static" | "int4-weight":
            return "int4"
