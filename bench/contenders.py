"""Who takes part in a benchmark, and what each is asked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from compress import locations
from compress.errors import UserError
from compress.files import files_in

Kind = Literal["torch", "onnxruntime", "tfidf", "peer"]
Device = Literal["cpu", "cuda"]
Shape = tuple[int, int]

GRID_LENGTHS = (16, 32, 64, 128)
GRID_BATCH_LENGTH = 32  # of the texts in the grid's batches
GRID: tuple[Shape, ...] = (*((1, length) for length in GRID_LENGTHS), (16, GRID_BATCH_LENGTH))


def shape_of(name: str) -> Shape:
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
    """One row of the benchmark: an artefact and how it is run.

    There is nothing here by which one could be favoured: threads, rounds and warm-up are the protocol's, for all.
    `compiled`: with torch.compile. `again`: a row's very model once more, to show how far apart two measurements of the
    same thing are. `slowed_by`: the share of its own time that each text takes longer, to show that the benchmark finds
    it. `module`: of a peer, what runs its model; `python`: the interpreter of its environment.
    """

    name: str
    kind: Kind
    path: str
    device: Device = "cpu"
    precision: str = "fp32"
    max_length: int | None = None
    compiled: bool = False
    scored: bool = True
    again: bool = False
    slowed_by: float = 0.0
    module: str | None = None
    python: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the worker's command and for results.json."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What every contender is timed on.

    `texts` (and `pairs`) have the task's own lengths; `labels` are their classes (or values) where known, of
    `num_classes` (1: values).
    `grid`: shapes on which the model alone is timed: texts in a batch, and tokens of each, special ones included.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    labels: Sequence[float] | None = None
    num_classes: int = 0
    grid: Sequence[Shape] = GRID


def rows_of(workload: Workload, index: Sequence[int]) -> dict[str, list[str] | None]:
    """Some of the texts, and their pairs where there are any, as the workers take them."""
    return {
        "texts": [workload.texts[i] for i in index],
        "pairs": None if workload.pairs is None else [workload.pairs[i] for i in index],
    }


def files_of(contender: Contender) -> list[Path]:
    """What of its folder is the model: of a Hugging Face folder weights, tokenizer and configuration, else all."""
    path = Path(contender.path)
    return locations.model_files(path) if contender.kind == "torch" else files_in(path)


def with_one_again(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders, and a copy of the last on the device of the first that is a plain model or bundle."""
    device = contenders[0].device
    plain = [each for each in contenders if each.kind in ("torch", "onnxruntime") and not each.compiled]
    chosen = next((each for each in reversed(plain) if each.device == device), None)
    if chosen is None:
        return list(contenders)
    return [*contenders, replace(chosen, name=f"{chosen.name}, again", scored=False, again=True)]


def contenders_at(
    path: Path,
    *,
    device: Device = "cpu",
    name: str | None = None,
    max_length: int | None = None,
    compiled: bool = False,
) -> list[Contender]:
    """The rows that a folder gives: a bundle runs in onnxruntime, a Hugging Face folder in torch, on CUDA also fp16.

    `compiled`: in torch also with torch.compile. An encoder that was not fine-tuned is timed with a head of random
    weights, and not scored. Raises UserError where the folder is neither.
    """
    name = name or path.name
    where = "" if device == "cpu" else ", CUDA"
    if (path / "bundle.json").is_file():
        return [Contender(name=f"{name}, onnxruntime{where}", kind="onnxruntime", path=str(path), device=device)]
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: neither a bundle (bundle.json) nor a Hugging Face folder (config.json)")
    fine_tuned = locations.is_classifier(str(path))
    return [
        Contender(
            name=f"{name}{'' if fine_tuned else ' (head random)'}, torch {precision}"
            f"{' compiled' if as_compiled else ''}{where}",
            kind="torch",
            path=str(path),
            device=device,
            precision=precision,
            compiled=as_compiled,
            max_length=max_length,
            scored=fine_tuned,
        )
        for precision in (["fp32"] if device == "cpu" else ["fp32", "fp16"])
        for as_compiled in ([False, True] if compiled else [False])
    ]
