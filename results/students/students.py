"""Students of several shapes: accuracy, changed labels and size, and speed at eight shapes next to other engines.

    python results/students/students.py quality data/sst2 --text sentence --labels negative,positive \
        --reference tinybert4 --bundle tinybert4 runs/sst2/export/int8-static ... > results/students/quality.json
    python results/students/students.py speed --bundle tinybert4 runs/sst2/export/int8-static ... \
        --peer tinybert4 runs/sst2/prediction/model ... --calibration data/sst2/train.tsv --text sentence \
        --environments peers --output runs/speed > results/students/speed.json

Each --bundle and --peer has a name and a folder. Bundles of one student share the first word of their names. `quality`
compares each bundle with the fp32 bundle next to it, and with the bundle named --reference. `speed` runs all bundles,
and the conversions of the models after --peer by OpenVINO and CTranslate2, in one interleaved run with one thread.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

import pocketbert
from bench.analysis.roofline import measure_roofline
from bench.measurement import machine
from bench.peers.environments import PEERS, convert_in_environment, environment
from bench.results.benchmark import System
from bench.timing.systems import Contender, Lineup, contenders_at
from compress.common.console import new_console
from compress.common.files import files_in
from compress.data.columns import Split
from compress.data.task_types import task_type
from compress.data.tasks import read_split
from compress.models.compatibility import EncoderFacts
from compress.reading.json_files import parse_json
from export.parity.significance import paired_difference
from export.quantisation.calibration import calibration_rows
from pocketbert.shape_design.candidate_shapes import num_products
from pocketbert.standalone.bench_models import BenchRequest, bench_contenders

SHAPES = ("1x16", "1x32", "1x64", "1x128", "1x256", "1x512", "16x64", "32x128")
SPLITS = ("dev", "test")
INT8_PEERS = {"OpenVINO": "OpenVINO int8", "CTranslate2": "CTranslate2 int8"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    quality_parser, speed_parser = commands.add_parser("quality"), commands.add_parser("speed")
    for each in (quality_parser, speed_parser):
        each.add_argument("--bundle", nargs=2, action="append", required=True, metavar=("NAME", "FOLDER"))
        each.add_argument("--text", default="text")
        each.add_argument("--labels", default="0,1")
    quality_parser.add_argument("data", type=Path, help="a folder with dev.tsv and test.tsv")
    quality_parser.add_argument("--reference", required=True)
    speed_parser.add_argument("--peer", nargs=2, action="append", default=[], metavar=("NAME", "MODEL"))
    speed_parser.add_argument("--calibration", type=Path, required=True)
    speed_parser.add_argument("--environments", type=Path, required=True)
    speed_parser.add_argument("--output", type=Path, required=True)
    speed_parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    content = quality(arguments) if arguments.command == "quality" else speed(arguments)
    sys.stdout.write(json.dumps({"machine": asdict(machine.describe()), **content}, indent=1) + "\n")


def read(path: Path, arguments: argparse.Namespace) -> Split:
    """A labelled table."""
    labels = arguments.labels.split(",")
    return read_split(path, text=[arguments.text], label="label", labels=labels, task_type="classification")


def quality(arguments: argparse.Namespace) -> dict[str, object]:
    """Accuracy on dev and test, paired differences, and changed labels."""
    tables = {name: read(arguments.data / f"{name}.tsv", arguments) for name in SPLITS}
    logits: dict[Path, dict[str, np.ndarray]] = {}

    def predictions(folder: Path) -> dict[str, np.ndarray]:
        if folder not in logits:
            sys.stderr.write(f"{folder}\n")
            classifier = pocketbert.load(folder)
            logits[folder] = {name: classifier.logits(table.texts) for name, table in tables.items()}
        return {name: each.argmax(axis=1) for name, each in logits[folder].items()}

    kind, num_labels = task_type("classification"), len(arguments.labels.split(","))
    bundles = {name: Path(folder) for name, folder in arguments.bundle}
    reference = predictions(bundles[arguments.reference])
    rows = []
    for name, folder in bundles.items():
        own, fp32 = predictions(folder), predictions(folder.parent / "fp32")
        for split, table in tables.items():
            difference = paired_difference(
                "accuracy", table.labels, own[split], reference[split], task_type=kind, num_labels=num_labels,
                resamples=10_000,
            )  # fmt: skip
            errors = np.abs(logits[folder][split] - logits[folder.parent / "fp32"][split])
            rows.append(
                {
                    "name": name,
                    "split": split,
                    "num_rows": len(table),
                    "size_bytes": sum(file.stat().st_size for file in files_in(folder)),
                    "accuracy": float((own[split] == table.labels).mean()),
                    "fp32_accuracy": float((fp32[split] == table.labels).mean()),
                    "difference": asdict(difference),
                    "num_label_changes": int((own[split] != fp32[split]).sum()),
                    "mean_logit_error": float(errors.mean()),
                }
            )
    return {"data": arguments.data.name, "reference": arguments.reference, "rows": rows}


def speed(arguments: argparse.Namespace) -> dict[str, object]:
    """Median latencies by shape, and ratios between all systems, from one interleaved run with one thread."""
    console = new_console(stderr=True)
    ours = {name: contenders_at(Path(folder), label=name)[0] for name, folder in arguments.bundle}
    rows = calibration_rows(read(arguments.calibration, arguments), task_type="classification", seed=0).rows()
    theirs: dict[str, Contender] = {}
    for name, model in arguments.peer:
        for peer_name, label in INT8_PEERS.items():
            converted = _converted(peer_name, label, Path(model), rows, arguments, name)
            if converted is not None:
                theirs[f"{label}, {name}"] = converted
    everyone = {**ours, **theirs}
    results = bench_contenders(
        Lineup(contenders=list(everyone.values()), compared={each: list(everyone.values()) for each in ours.values()}),
        BenchRequest(num_threads=1, rounds=arguments.rounds, restart_every=2, grid=SHAPES, effort="quick"),
        name="Students of several shapes",
        command=["bench", "models"],
        output=arguments.output,
        console=console,
    )
    bench = results.stages.bench
    names = dict(enumerate(everyone))
    gops = measure_roofline(1).products["int8"].gops
    return {
        "num_threads": 1,
        "rounds": arguments.rounds,
        "int8_gops": gops,
        "median_ms": {
            names[row.id]: {shape: row.latency_by_shape[shape].median_ms for shape in SHAPES}
            for row in bench.rows
            if row.error is None
        },
        "ratios": {
            names[row.id]: {
                names[other.other]: {shape: asdict(_ratio(row, shape, other.other)) for shape in SHAPES}
                for other in row.comparisons_by_input[SHAPES[0]]
            }
            for row in bench.rows
            if row.comparisons_by_input
        },
        "products": {name: _products(folder) for name, folder in arguments.bundle},
        "errors": {names[row.id]: row.error for row in bench.rows if row.error},
    }


def _ratio(row, shape: str, other: int):
    return next(each.ratio for each in row.comparisons_by_input[shape] if each.other == other)


def _products(bundle: str) -> dict[str, int]:
    """Products of each shape, with the last layer at the first position only."""
    shape = EncoderFacts.of_config(parse_json((Path(bundle) / "config.json").read_bytes())).shape
    counts = {}
    for name in SHAPES:
        texts, tokens = map(int, name.split("x"))
        counts[name] = texts * num_products(shape, tokens)
    return counts


def _converted(
    peer_name: str,
    label: str,
    model: Path,
    rows: Sequence[Sequence[str]],
    arguments: argparse.Namespace,
    name: str,
) -> Contender | None:
    peer = PEERS[peer_name]
    python = environment(peer, arguments.environments)
    folder = arguments.output.parent / f"{arguments.output.name}-conversions" / peer_name / name
    converted = folder / label.lower().replace(" ", "-")
    if not converted.exists():
        outcome = convert_in_environment(peer, python, model.absolute(), rows, folder, 512)[label]
        if isinstance(outcome, str):
            sys.stderr.write(f"{label}, {name}: {outcome}\n")
            return None
    variant = next(each for each in peer.variants if each.label == label)
    return Contender(
        system=System(
            label=f"{label}, {name}", role="peer", engine=peer.engine, precision=variant.precision,
            variant=variant.variant,
        ),
        path=str(converted),
        python=str(python),
        module=f"bench.peers.{peer.module}",
        max_length=512,
    )  # fmt: skip


if __name__ == "__main__":
    main()
