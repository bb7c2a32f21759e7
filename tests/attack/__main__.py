"""`python -m tests.attack`: the attack suite. `make attack` calls it; docs/attacks.md describes it."""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch are loaded
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

SHORT_SECONDS = 60  # what the attacks of --short may take together, by the durations that they state


def main() -> int:
    """Run the attacks. Returns 1 if there is a bug."""
    options = _options()
    from tests.attack import cases, preload, report, runner, sample
    from tests.attack.material import Material

    attacks = cases.all_attacks(options.seed)
    if options.only:
        attacks = [attack for attack in attacks if any(fnmatch(attack.name, pattern) for pattern in options.only)]
    if options.short:
        attacks = sample.short(attacks, seconds=SHORT_SECONDS, seed=options.seed)
    if options.list:
        sys.stdout.write("".join(f"{attack.name:<60}{attack.type}\n" for attack in attacks))
        return 0
    if not attacks:
        sys.stderr.write(f"no attack has the name {' or '.join(options.only)}; --list prints the names\n")
        return 2
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="attacks-")) if options.folder is None else options.folder
    folder.mkdir(parents=True, exist_ok=True)
    progress = report.Progress(attacks, jobs=options.jobs)
    try:
        preload.load()
        material = Material(root=options.material or folder / "material")
        preload.build_material(material, on_progress=progress.say)
        verdicts = runner.run_attacks(
            attacks,
            material,
            folder=folder / "attacks",
            jobs=options.jobs,
            seed=options.seed,
            patience=options.patience,
            keeps=options.keep,
            on_verdict=progress.count,
        )
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    rows = list(runner.rows_of(verdicts, cases.TYPES))
    report.print_table(rows, verdicts, seconds)
    if options.output is not None:
        part = "short" if options.short else "full"
        document = {
            "part": part, "seed": options.seed, "jobs": options.jobs, "seconds": round(seconds), "rows": rows,
        }  # fmt: skip
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.keep:
        sys.stdout.write(f"the scratch folders are in {folder}\n")
    return int(any(verdict.bugs for verdict in verdicts))


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this attack; * matches any text")
    parser.add_argument("--short", action="store_true", help="a sample of every type, for `make test`")
    parser.add_argument("--list", action="store_true", help="print the names of the attacks, and run none")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is sampled")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="attacks at a time")
    parser.add_argument("--patience", type=float, default=1, help="multiplies all time limits, for a busy machine")
    parser.add_argument("--output", type=Path, help="JSON file for the table")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folders")
    parser.add_argument("--folder", type=Path, help="folder for the scratch folders [default: a temporary one]")
    parser.add_argument("--material", type=Path, help="folder with the material of an earlier call, or for it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
