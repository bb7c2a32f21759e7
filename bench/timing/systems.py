"""Who takes part in a benchmark, and what each is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.results.benchmark import AbsentSystem, Device, Precision, Role, Step, System
from bench.timing.messages import ModelSpec
from compress.common.errors import UserError
from compress.common.files import files_in
from compress.data.task_types import TaskTypeName
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from export.quantisation.variants import VARIANTS, Weights

Shape = tuple[int, int]

GRID_LENGTHS = (16, 32, 64, 128)
GRID_BATCH_LENGTH = 32  # of the texts in the grid's batches
GRID: tuple[Shape, ...] = (*((1, length) for length in GRID_LENGTHS), (16, GRID_BATCH_LENGTH))


def parse_shape(name: str) -> Shape:
    """The shape that "16x32" names: 16 texts of 32 tokens. Raises UserError for anything else."""
    batch, _, length = name.partition("x")
    if not (batch.isdecimal() and length.isdecimal() and int(batch) > 0 and int(length) > 3):
        raise UserError(f"got the shape {name!r}; expected texts x tokens, as 1x64 or 16x32, of at least 4 tokens")
    return int(batch), int(length)


def shape_name(shape: Shape) -> str:
    """As results.json has it: texts x tokens."""
    return f"{shape[0]}x{shape[1]}"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One system of the benchmark, and how it is run.

    There is nothing here by which one could be favoured: threads, rounds and warm-up are the protocol's, for all.
    `num_parameters`: where its runtime cannot count them. `is_aa_control`: a copy of another contender, measured to
    show how far apart two measurements of the same thing are. `slowed_by`: the share of its own time that each text
    takes longer, to show that the benchmark detects it. `module`: of a peer, what runs its model; `python`: the
    interpreter of its environment.
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
        """For people alone: in messages about it."""
        return f"{self.system.name}, again" if self.is_aa_control else self.system.name

    @property
    def is_bundle(self) -> bool:
        """Whether it is one of ours: a peer's model in onnxruntime is not."""
        return self.system.engine == "onnxruntime" and self.module is None

    @property
    def is_scored(self) -> bool:
        """Whether its answers are compared with the labels."""
        return not (self.system.random_head or self.is_aa_control)

    def spec(self) -> ModelSpec:
        """What its worker loads."""
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
    """The steps from one contender to another: where they start, and for each what changes and where it leads."""

    start: Contender
    steps: Sequence[tuple[Step, Contender]]

    @property
    def end(self) -> Contender:
        """The contender whose speed-up it breaks down."""
        return self.steps[-1][1]


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """Who takes part in a benchmark, in the order of its rows.

    `absent`: who else would have, and why not. `breakdowns`: the speed-ups that are broken down by step. `compared`: by
    contender, those that it is compared with, besides the first of its device.
    """

    contenders: Sequence[Contender]
    absent: Sequence[AbsentSystem] = ()
    breakdowns: Sequence[Breakdown] = ()
    compared: Mapping[Contender, Sequence[Contender]] = field(default_factory=dict)

    def id_of(self, contender: Contender) -> int:
        """The `id` of its row."""
        return self.contenders.index(contender)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What every contender is timed on.

    `texts` (and `pairs`) have the task's own lengths; `labels` are their classes or values where known, as `task_type`
    has them, of a task of `num_labels`.
    `grid`: shapes on which the model alone is timed: texts in a batch, and tokens of each, special ones included.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    labels: Sequence[float] | None = None
    num_labels: int = 0
    task_type: TaskTypeName = "classification"
    grid: Sequence[Shape] = GRID


def select_texts(workload: Workload, index: Sequence[int]) -> dict[str, list[str] | None]:
    """Some of the texts, and their pairs where there are any, as the workers take them."""
    return {
        "texts": [workload.texts[i] for i in index],
        "pairs": None if workload.pairs is None else [workload.pairs[i] for i in index],
    }


def files_of(contender: Contender) -> list[Path]:
    """What of its folder is the model: of a Hugging Face folder weights, tokenizer and configuration, else all."""
    path = Path(contender.path)
    return sources.model_files(path) if contender.system.engine == "torch" else files_in(path)


def with_aa_control(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders, and a copy of the last on the device of the first that is a plain model or bundle."""
    device = contenders[0].system.device
    plain = [each for each in contenders if each.system.role not in ("baseline", "peer") and not each.system.compiled]
    copied = next((each for each in reversed(plain) if each.system.device == device), None)
    return [*contenders, *([] if copied is None else [replace(copied, is_aa_control=True)])]


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
    """The rows that a folder gives: a bundle runs in onnxruntime, a Hugging Face folder in torch, on CUDA also fp16.

    `label`: by default the folder's name. `num_parameters`: of a bundle. `compiled`: in torch also with torch.compile.
    An encoder that was not fine-tuned is timed with a head of random weights, and not scored. Raises UserError where
    the folder is neither.
    """
    label = label or path.name
    if (path / "bundle.json").is_file():
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
        raise UserError(f"{path}: neither a bundle (bundle.json) nor a Hugging Face folder (config.json)")
    random_head = not sources.is_classifier(str(path))
    precisions: tuple[Precision, ...] = ("fp32",) if device == "cpu" else ("fp32", "fp16")
    systems = [
        System(
            label=label,
            role=role,
            engine="torch",
            device=device,
            precision=precision,
            compiled=as_compiled,
            random_head=random_head,
        )
        for precision in precisions
        for as_compiled in ([False, True] if compiled else [False])
    ]
    return [Contender(system=system, path=str(path), max_length=max_length) for system in systems]


def breakdown_of(teacher: Contender, student: Contender, fp32: Contender | None, bundle: Contender) -> Breakdown:
    """From the teacher in torch to a bundle of the student: over the student in torch, then over its fp32 bundle."""
    steps: list[tuple[Step, Contender]] = [("distillation", student)]
    if fp32 is not None:
        steps.append(("runtime", fp32))
    if bundle != fp32:
        steps.append(("quantisation", bundle))
    return Breakdown(start=teacher, steps=steps)


def _precision_of(weights: Weights) -> Precision:
    """The numbers that hold a bundle's weights."""
    match weights:
        case "fp32" | "fp16":
            return weights
        case "int8-dynamic" | "int8-static" | "int8-weight":
            return "int8"
        case "int4-static" | "int4-weight":
            return "int4"
