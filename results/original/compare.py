"""PocketBERT's task distillation compared with the original TinyBERT scripts: same teacher, rows, steps and start.

    git clone --depth 1 https://github.com/huawei-noah/Pretrained-Language-Model originals
    python results/original/compare.py originals/TinyBERT --data data/sst2 --teacher models/teacher \
        --work runs/original --output results/original/original.json

Each row is a student of 3 layers that one system trains in two steps. It starts from random weights or from the
projected teacher; PocketBERT makes both. A row is saved when it is finished, so a second call continues. --factors
changes one property of the scripts to that of PocketBERT, --variants changes PocketBERT. Names joined by + are one row;
`each` stands for each name alone, and `all` for all factors in one row.

Times: `training_s` of the scripts is the time of their epochs, with evaluation and saving (`evaluation_s`, `saving_s`).
That of PocketBERT is the time of its training loop, with checkpoints and the evaluation after each epoch. `stage_s` is
the whole process of a step for the scripts. For PocketBERT it is the whole stage, with tokenisation, the teacher's
logits and all scores. `scores` come from transformers in float32, for all students alike.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import inputs as model_inputs
from inputs import BATCH_SIZE, Inputs
from original_copy import ALL, FACTORS, SCRIPTS, WIDTH, interpreter, patched_copy
from systems import DRIVER, VARIANTS, Row, Setup, call, run_row

from bench.measurement import machine
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.models.compatibility import Initialisation
from compress.models.shape import StudentShape

# the scripts need a number of layers that divides the teacher's
SHAPE = StudentShape(layers=3, width=WIDTH, ffn_width=1200, heads=12)
SYSTEMS = ("original", "pocketbert")
STARTS: tuple[Initialisation, ...] = ("random", "projected")
MOST_DIFFERENCE = 1e-3  # between the logits of the scripts and those of transformers
SECONDS_PER_STEP = {"original": 1.45, "pocketbert": 0.1}  # of both training steps, at 64 tokens, with one thread
OTHER_SECONDS = {"original": 45.0, "pocketbert": 45.0}  # of a row


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", type=Path, help="the folder TinyBERT of the original repository")
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with train.tsv, dev.tsv and test.tsv of SST-2"
    )
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder for the environment, the inputs and the rows"
    )
    parser.add_argument("--output", type=Path, required=True, help="the JSON file with all finished rows")
    parser.add_argument("--seeds", type=_integers, default=[0, 1, 2], metavar="N,...", help="default: 0,1,2")
    parser.add_argument("--steps", type=int, default=250, help="of each of both training steps")
    parser.add_argument("--rows", type=int, default=8000, help="of train")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--eval-step", type=int, default=50, help="steps of the scripts between evaluations")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="whose rows without changes to measure")
    parser.add_argument("--starts", default=",".join(STARTS), help="of the rows without changes")
    parser.add_argument("--factors", default="", help=f"each, all, or of: {', '.join(FACTORS)}")
    parser.add_argument("--variants", default="", help=f"each, or of: {', '.join(VARIANTS)}")
    parser.add_argument("--changed-starts", default="random", help="of the rows with factors or variants")
    parser.add_argument("--plan", action="store_true", help="only print the rows and an estimate of their time")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # subprocess.run then ends its process
    try:
        compare(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


def compare(arguments: argparse.Namespace) -> None:
    """Train every row that is not finished, and collect all finished rows."""
    rows = rows_of(arguments)
    num_batches, remainder = divmod(arguments.rows, BATCH_SIZE)
    if remainder or arguments.steps % num_batches or arguments.eval_step > arguments.steps:
        raise UserError(
            f"--rows {arguments.rows} --steps {arguments.steps} --eval-step {arguments.eval_step}: expected whole "
            f"batches of {BATCH_SIZE}, whole passes over them, and an evaluation in each step"
        )
    work = arguments.work.absolute()
    results = work / "rows"
    todo = [row for row in rows if not (results / f"{row.name}.json").exists()]
    log(f"{len(rows)} rows, {len(todo)} of them to do, about {minutes(todo, results, arguments):.0f} min")
    if arguments.plan:
        sys.stdout.write("".join(f"{'' if row in todo else 'finished '}{row.name}\n" for row in rows))
        return
    setup = prepare(arguments, work)
    for row in todo:
        make_students(setup, row, work)
        started = time.perf_counter()
        result = run_row(row, setup, work / "run", results / f"{row.name}.log")
        write_json(results / f"{row.name}.json", {**result, "row_s": time.perf_counter() - started})
        todo = [each for each in todo if each != row]
        log(f"{row.name}: {result['scores']}; about {minutes(todo, results, arguments):.0f} min left")
    finished = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    checks = json.loads((work / "checks.json").read_text(encoding="utf-8"))
    facts = {
        "machine": asdict(machine.describe()),
        "threads": machine.torch_threads(),
        "original": SCRIPTS.requirements,
    }
    changes = {"factors": {name: factor.meaning for name, factor in FACTORS.items()}}
    write_json(arguments.output, {**facts, **settings_of(arguments), **changes, "checks": checks, "rows": finished})


def rows_of(arguments: argparse.Namespace) -> list[Row]:
    """All rows, by seed, so that the rows of a seed are measured close to each other."""
    changes = {
        "original": _listed(_each(arguments.factors, FACTORS), [*FACTORS, ALL], "--factors"),
        "pocketbert": _listed(_each(arguments.variants, VARIANTS), [*VARIANTS], "--variants"),
    }
    kinds = [
        (system, start, "")
        for start in _listed(arguments.starts, STARTS, "--starts")
        for system in _listed(arguments.systems, SYSTEMS, "--systems")
    ]
    for system, variants in changes.items():
        starts = _listed(arguments.changed_starts, STARTS, "--changed-starts")
        if "projected" in starts and any("random-head" in variant for variant in variants):
            raise UserError("--variants random-head: needs --changed-starts random")
        kinds += [(system, start, variant) for start in starts for variant in variants]
    return [
        Row(system=system, start=start, variant=variant, seed=seed)
        for seed in arguments.seeds
        for system, start, variant in kinds
    ]


def prepare(arguments: argparse.Namespace, work: Path) -> Setup:
    """The environment and the inputs of both systems. The inputs of an earlier call stay as they are."""
    settings, file = settings_of(arguments), work / "settings.json"
    if file.exists():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        if earlier != settings:
            raise UserError(f"{work}: has rows of other settings, {earlier}; choose another folder with --work")
    elif work.exists() and any(work.iterdir()):
        raise UserError(f"{work}: not a folder of this script; choose a new one with --work")
    (work / "rows").mkdir(parents=True, exist_ok=True)
    write_json(file, settings)
    log("environment of the original scripts")
    return Setup(
        inputs=Inputs(
            folder=work / "inputs", source=arguments.data.absolute(), teacher=arguments.teacher.absolute(), shape=SHAPE,
            num_rows=arguments.rows, max_length=arguments.max_length,
        ),
        steps=arguments.steps,
        eval_step=arguments.eval_step,
        scripts=arguments.scripts.absolute(),
        python=interpreter(work / "environments"),
    )  # fmt: skip


def settings_of(arguments: argparse.Namespace) -> dict[str, object]:
    """What the rows of a work folder have in common."""
    return {
        "shape": vars(SHAPE), "steps": arguments.steps, "num_rows": arguments.rows, "max_length": arguments.max_length,
        "eval_step": arguments.eval_step, "data": arguments.data.name, "teacher": arguments.teacher.name,
        "num_threads": os.getenv("OMP_NUM_THREADS"),
    }  # fmt: skip


def make_students(setup: Setup, row: Row, work: Path) -> None:
    """Make the first students of a row, unless they are there. Compare the scripts with transformers on each model."""
    inputs, file = setup.inputs, work / "checks.json"
    checks = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    models = {"teacher": inputs.folder / "teacher"}
    if not checks:
        for folder in (inputs.data, models["teacher"]):
            model_inputs.remove(folder)
        model_inputs.write_data(inputs)
        model_inputs.write_teacher(inputs, models["teacher"], {})
        checks["relu"] = model_inputs.relu_facts(inputs)
    name = f"{row.start}-{row.seed}"
    if name not in checks:
        for system in SYSTEMS:
            model_inputs.remove(inputs.student(system, row.start, row.seed))
        model_inputs.write_first_students(inputs, row.start, row.seed)
        models[name] = inputs.student("original", row.start, row.seed)
    for label, folder in models.items():
        if label in checks:
            continue
        scripts, arrays = work / "check", inputs.folder / "logits.npz"
        model_inputs.remove(scripts)
        patched_copy(setup.scripts, scripts, teacher_width=model_inputs.width_of(inputs.teacher))
        command = [setup.python, "-P", DRIVER, scripts, "logits", folder, inputs.data, inputs.max_length, arrays]
        call(command, work / "check.log", cwd=work)
        checks[label] = model_inputs.difference(inputs, folder, arrays)
        log(f"{label}: the scripts compared with transformers: {checks[label]}")
        if checks[label]["num_other_tokens"] or checks[label]["largest_logit_difference"] > MOST_DIFFERENCE:
            raise UserError(f"{folder}: the scripts compute something else than transformers: {checks[label]}")
        write_json(file, checks)


def minutes(todo: Sequence[Row], results: Path, arguments: argparse.Namespace) -> float:
    """The expected time: by the finished rows of a system, else by constants of an earlier measurement."""
    total = 0.0
    for system in SYSTEMS:
        paths = list(results.glob(f"{system}-*.json"))
        known = [json.loads(path.read_text(encoding="utf-8"))["row_s"] for path in paths]
        steps = 2 * arguments.steps * SECONDS_PER_STEP[system] * arguments.max_length / 64
        seconds = sum(known) / len(known) if known else steps + OTHER_SECONDS[system]
        total += seconds * sum(row.system == system for row in todo)
    return total / 60


def _listed(value: str, allowed: Sequence[str], option: str) -> list[str]:
    """The names in an option. Raises UserError unless all of them, or the parts joined by +, are allowed."""
    names = [name for name in value.split(",") if name]
    for name in names:
        if any(part not in allowed for part in name.split("+")):
            raise UserError(f"{option} {name}: expected of {', '.join(allowed)}")
    return names


def _integers(text: str) -> list[int]:
    """The integers in an option."""
    return [int(number) for number in text.split(",")]


def _each(value: str, known: Iterable[str]) -> str:
    """An option with all names in the place of `each`."""
    return ",".join(",".join(known) if name == "each" else name for name in value.split(","))


def log(message: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    main()
