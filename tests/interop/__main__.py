"""Loads bundles in other programs, and prints a table: labels that change, and the largest difference.

    python -m tests.interop BUNDLES --texts texts.txt
    python -m tests.interop BUNDLES --texts texts.txt --only 'transformers.js 3'

BUNDLES is a folder with one bundle per variant. The environments of the consumers are made under .interop/. A cell of
an earlier run is kept as long as its bundle and its texts stay the same. The exit code is 1 if a promised cell fails.
"""

import argparse
import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from compress.common.files import sha256
from tests.interop.all_consumers import CONSUMERS
from tests.interop.cells import Cell, Inputs, read_inputs, run_cell
from tests.interop.consumers import Consumer
from tests.interop.table import VARIANTS, read_cells, text_table, write_cells

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "interop" / "interop.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every consumer on every bundle. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, help="folder of bundles")
    parser.add_argument("--texts", type=Path, required=True, help="file with one text per line")
    parser.add_argument("--count", type=int, default=200, help="number of texts (default: 200)")
    parser.add_argument("--only", default="", help="consumers whose name contains this; several: separated by commas")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the environments")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument("--again", action="store_true", help="run cells of an earlier run again")
    options = parser.parse_args(arguments)
    wanted = [name.strip().lower() for name in options.only.split(",")]
    chosen = [consumer for consumer in CONSUMERS if any(name in consumer.name.lower() for name in wanted)]
    if not chosen:
        parser.error(f"--only: got {options.only!r}; expected one of {', '.join(each.name for each in CONSUMERS)}")
    folders = sorted(
        (path.parent for path in options.bundles.glob("*/bundle.json")),
        key=lambda folder: VARIANTS.index(folder.name) if folder.name in VARIANTS else len(VARIANTS),
    )
    if not folders:
        parser.error(f"{options.bundles}: no bundles in this folder")
    texts = options.texts.read_text(encoding="utf-8").splitlines()[: options.count]
    options.environments.mkdir(parents=True, exist_ok=True)
    cells = _run_all(chosen, folders, texts, options.environments, again=options.again)
    earlier = read_cells(options.output) if options.only else {}
    merged = {**earlier, **{(cell.consumer, cell.variant): cell for cell in cells}}
    order = [each.name for each in CONSUMERS]
    complete = sorted((cell for cell in merged.values() if cell.consumer in order), key=lambda c: order.index(c.consumer))
    notes = {consumer.name: consumer.note for consumer in CONSUMERS if consumer.note}
    about = {"texts": str(len(texts)), "machine": platform.machine()}
    write_cells(options.output, complete, notes, about)
    sys.stdout.write(text_table(cells) + "\n")
    broken = [cell for cell in cells if cell.is_broken]
    for cell in [cell for cell in cells if cell.message or cell.failures]:
        reasons = cell.message or "; ".join(cell.failures)
        sys.stdout.write(f"{'FAILED' if cell.is_broken else 'no'}: {cell.consumer}, {cell.variant}: {reasons}\n")
    return 1 if broken else 0


def _run_all(
    consumers: Sequence[Consumer], folders: Sequence[Path], texts: Sequence[str], root: Path, *, again: bool
) -> list[Cell]:
    """All cells, each kept in a file. Prints one line per cell, with the time left."""
    inputs = {folder: _inputs(folder, texts, root) for folder in folders}
    cells: list[Cell] = []
    started, num_run, total = time.monotonic(), 0, len(consumers) * len(folders)
    for consumer in consumers:
        for folder in folders:
            kept = root / "cells" / f"{_key(consumer, folder, texts)}.json"
            earlier = {} if again else read_cells(kept)
            if earlier:
                cells.extend(earlier.values())
                continue
            cell = run_cell(consumer, inputs[folder], root)
            cells.append(cell)
            num_run += 1
            if not cell.message.startswith("not tried"):
                write_cells(kept, [cell], {}, {})
            seconds = (time.monotonic() - started) / num_run * (total - len(cells))
            left = timedelta(seconds=round(seconds))
            sys.stderr.write(f"{len(cells)}/{total}, {left} left: {consumer.name}, {folder.name}\n")
    return cells


def _inputs(folder: Path, texts: Sequence[str], root: Path) -> Inputs:
    return read_inputs(folder, texts)


def _key(consumer: Consumer, folder: Path, texts: Sequence[str]) -> str:
    """Changes with the bundle, the texts, the consumer and its driver."""
    driver = Path(__file__).parent / "drivers" / consumer.driver
    parts = [sha256(folder / "SHA256SUMS"), repr(consumer), sha256(driver), *texts]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


if __name__ == "__main__":
    sys.exit(main())
