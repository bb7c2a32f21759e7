"""How fast distillation trains: a ladder from the plain procedure to ours, on the same examples, interleaved."""

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.children import Child, ChildError
from bench.stats import speed_ratio

Stage = Literal["intermediate", "prediction"]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to train.

    `engine`: a plain loop, our trainer, or TextBrewer. `padding`: every row to the maximum length, to the longest of
    its batch, or that with batches of like length. `precision`: fp32, or what our trainer would choose here.
    `outputs`: all that the models can give, or only what the losses read. `fused`: one kernel for the whole optimiser.
    `cached`: teacher logits computed once.
    """

    name: str
    engine: Literal["plain", "ours", "textbrewer"] = "plain"
    padding: Literal["maximum", "longest", "bucketed"] = "bucketed"
    precision: Literal["fp32", "ours"] = "ours"
    outputs: Literal["all", "used"] = "used"
    fused: bool = True
    cached: bool = False
    compiled: bool = False


PLAIN = Rung(name="plain: padded, fp32, all outputs", padding="maximum", precision="fp32", outputs="all", fused=False)
DYNAMIC = Rung(
    name="+ padding to the longest of a batch", padding="longest", precision="fp32", outputs="all", fused=False
)
PRECISION = Rung(name="+ our precision", padding="longest", outputs="all", fused=False)
FUSED = Rung(name="+ fused optimiser", padding="longest", outputs="all")
USED = Rung(name="+ used outputs only", padding="longest")
OURS = Rung(name="PocketBERT", engine="ours", cached=True)
COMPILED = Rung(name="PocketBERT, compiled", engine="ours", cached=True, compiled=True)
TEXTBREWER = Rung(name="TextBrewer", engine="textbrewer", padding="longest")
LADDER: dict[Stage, list[Rung]] = {
    "intermediate": [PLAIN, DYNAMIC, PRECISION, FUSED, USED, Rung(name="+ batches of like length"), OURS, COMPILED],
    "prediction": [
        PLAIN, DYNAMIC, PRECISION, FUSED, USED,
        Rung(name="+ logits of the teacher cached", padding="longest", cached=True),
        Rung(name="+ batches of like length", cached=True), OURS, COMPILED,
    ],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is trained on what. `rows`: token ids, `pieces`: all that the whole of which they are a part uses; `shape`:
    layers, width, ffn_width and heads of the student.

    `epochs`: of the prediction stage, over which the filling of the cache is counted. `max_length`: tokens, which plain
    padding fills up to.
    """

    teacher: str
    shape: dict[str, int]
    rows: Sequence[Sequence[int]]
    pieces: Sequence[int]
    num_labels: int
    batch_size: int
    max_length: int
    epochs: int


@dataclass(kw_only=True)
class Trained:
    """Raw measurements of one rung: seconds over all rows for each round; for a cache also those of filling it.

    `input_s`: those of reading, batching and padding alone.
    """

    rung: Rung
    seconds: list[float] = field(default_factory=list)
    fill_s: list[float] = field(default_factory=list)
    input_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int = 0
    error: str | None = None


def measure(
    stage: Stage,
    rungs: Sequence[Rung],
    load: Load,
    *,
    rounds: int,
    num_threads: int,
    peer_path: Path | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Trained]:
    """Train every rung over the rows once a round, in an order drawn anew, each in a process of its own.

    One round beforehand is not counted. `peer_path`: where TextBrewer is installed.
    """
    found = [Trained(rung=rung) for rung in rungs]
    children: dict[int, Child] = {}
    draw = random.Random(seed)
    done, total = 0, len(rungs) * (rounds + 2)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        rows.write_text(json.dumps([list(row) for row in load.rows]))
        spec = {**asdict(load), "rows": str(rows), "stage": stage}

        def start(index: int) -> None:
            path = () if peer_path is None else (str(peer_path),)
            children[index] = Child("bench.training_worker", rungs[index].name, num_threads=num_threads, path=path)
            children[index].ask("load", spec=spec, rung=asdict(rungs[index]), num_threads=num_threads)

        def train(index: int, *, counts: bool) -> None:
            seconds, fill_s = children[index].ask("train")
            input_s = children[index].ask("read")
            if counts:
                found[index].seconds.append(seconds)
                found[index].input_s.append(input_s)
                if rungs[index].cached and stage == "prediction":
                    found[index].fill_s.append(fill_s)

        def end(index: int) -> None:
            found[index].peak_rss_bytes = children[index].ask("facts")["peak_rss_bytes"]

        def for_each(part: Callable[[int], None]) -> None:
            nonlocal done
            for index in draw.sample(range(len(rungs)), len(rungs)):
                try:
                    if found[index].error is None:
                        part(index)
                except ChildError as error:
                    found[index].error = str(error)
                on_progress(done := done + 1, total)

        try:
            for_each(start)
            for number in range(rounds + 1):
                for_each(lambda index, number=number: train(index, counts=number > 0))  # type: ignore[misc]
            for_each(end)
        finally:
            for child in children.values():
                child.close()
    return found


def rows_of(found: Sequence[Trained], load: Load) -> list[dict[str, Any]]:
    """Examples per second, ratios against the plain loop (a) and the plain loop at its best (b), and peak memory.

    (b) is (a) with dynamic padding, our precision and a fused optimiser. `input_share`: how much of the training's
    time the input pipeline takes when it runs alone; None where it is not ours to time.
    """
    by_name = {trained.rung: _each_round(trained, load.epochs) for trained in found}
    lines = []
    for trained in found:
        seconds = by_name[trained.rung]
        line: dict[str, Any] = {"name": trained.rung.name, "error": trained.error}
        if seconds:
            line["examples_per_s"] = len(load.rows) / median(seconds)
            line["peak_rss_bytes"] = trained.peak_rss_bytes
            known = trained.rung.engine != "textbrewer"
            line["input_share"] = median(trained.input_s) / median(trained.seconds) if known else None
            for name, baseline in (("against_a", PLAIN), ("against_b", FUSED)):
                others = by_name.get(baseline)
                if others and len(others) == len(seconds):
                    line[name] = asdict(speed_ratio(*([[[value] for value in values]] for values in (others, seconds))))
        lines.append(line)
    return lines


def _each_round(trained: Trained, epochs: int) -> list[float]:
    """Seconds of an epoch, with its share of what filling the cache took."""
    fills = trained.fill_s or [0.0] * len(trained.seconds)
    return [seconds + fill / epochs for seconds, fill in zip(trained.seconds, fills, strict=True)]
