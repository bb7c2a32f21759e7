"""Loads bundles in other programs, and prints a table: labels that change, and the largest difference.

    python -m tests.interop bundles --texts texts.txt
    python -m tests.interop bundles --texts texts.txt --only 'transformers.js 3'

Takes bundles, and folders of bundles. The environments of the programs are made under .interop/. A cell of an earlier
run is kept as long as its bundle, texts and program stay the same. The exit code is 1 if a promised cell fails.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from compress.common.files import sha256
from tests.interop import emulated_consumers, javascript_consumers, python_consumers
from tests.interop.cells import DRIVERS, Cell, Inputs, judged, read_inputs, run_cell
from tests.interop.consumers import Consumer
from tests.interop.table import column_order, read_cells, text_table, write_cells
from tests.interop.tiny_models import build_tiny_bundles

ROOT = Path(__file__).resolve().parents[2]
CONSUMERS = (*python_consumers.CONSUMERS, *javascript_consumers.CONSUMERS, *emulated_consumers.CONSUMERS)
RESULTS = ROOT / "results" / "interop" / "interop.json"


def main(arguments: Sequence[str] | None = None, consumers: Sequence[Consumer] = CONSUMERS) -> int:
    """Run the consumers on the bundles. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", help="bundles, or folders of bundles")
    parser.add_argument("--texts", type=Path, help="file with one text per line (default: each bundle's examples)")
    parser.add_argument("--count", type=int, default=200, help="number of texts (default: 200)")
    parser.add_argument("--only", default="", help="programs whose name contains this; several: separated by commas")
    parser.add_argument("--no-tiny", action="store_true", help="leave out the bundles for pairs and regression")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the environments")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    options = parser.parse_args(arguments)
    wanted = [name.strip().lower() for name in options.only.split(",")]
    chosen = [consumer for consumer in consumers if any(name in consumer.name.lower() for name in wanted)]
    if not chosen:
        parser.error(f"--only: got {options.only!r}; expected part of {', '.join(each.name for each in consumers)}")
    folders = [folder for path in options.bundles for folder in _bundles_in(path)]
    if not folders:
        parser.error(f"{options.bundles[0]}: got no bundle; expected a bundle, or a folder of bundles")
    try:
        texts = options.texts and options.texts.read_text(encoding="utf-8").splitlines()[: options.count]
    except OSError as error:
        parser.error(f"--texts: {options.texts}: {error.strerror}")
    tiny = [] if options.no_tiny else build_tiny_bundles(options.environments / "tiny")
    inputs = [read_inputs(folder, texts) for folder in folders] + [
        read_inputs(folder, None, promise=folder.name) for folder in tiny
    ]
    inputs.sort(key=lambda each: column_order(each.variant))
    cells = _run_all(chosen, inputs, options.environments)
    _write(
        options.output,
        cells,
        consumers,
        keeps_others=bool(options.only),
        num_texts=max(each.num_texts for each in inputs),
    )
    sys.stdout.write(text_table(cells) + "\n")
    for cell in cells:
        if cell.message or cell.failures:
            outcome = "FAILED" if cell.is_broken else "no promise"
            sys.stdout.write(
                f"{outcome}: {cell.consumer}, {cell.variant}: {cell.message or '; '.join(cell.failures)}\n"
            )
    return 1 if any(cell.is_broken for cell in cells) else 0


def _bundles_in(path: Path) -> list[Path]:
    if (path / "bundle.json").is_file():
        return [path]
    return sorted(file.parent for file in path.glob("*/bundle.json"))


def _run_all(consumers: Sequence[Consumer], inputs: Sequence[Inputs], root: Path) -> list[Cell]:
    """All cells, each kept in a file. Prints one line per cell, with the time left."""
    cells: list[Cell] = []
    started, num_run, total = time.monotonic(), 0, len(consumers) * len(inputs)
    for consumer in consumers:
        for each in inputs:
            kept = root / "cells" / f"{_key(consumer, each)}.json"
            if earlier := read_cells(kept):
                cells.extend(judged(cell, consumer, each) for cell in earlier.values())
                continue
            cell = run_cell(consumer, each, root)
            cells.append(cell)
            num_run += 1
            if not cell.was_not_tried:
                write_cells(kept, [cell], notes={}, num_texts=each.num_texts)
            seconds = (time.monotonic() - started) / num_run * (total - len(cells))
            left = timedelta(seconds=round(seconds))
            sys.stderr.write(f"{len(cells)}/{total}, {left} left: {consumer.name}, {each.variant}\n")
    return cells


def _key(consumer: Consumer, inputs: Inputs) -> str:
    """Changes with the bundle, its texts, how the consumer is run, and the drivers of its language."""
    folder = (DRIVERS / consumer.driver).parent
    drivers = sorted(folder.glob("*.mjs")) or [DRIVERS / consumer.driver, DRIVERS / "batching.py"]
    how = (
        consumer.name,
        consumer.environment,
        consumer.further,
        consumer.command,
        consumer.options,
        consumer.num_texts,
    )
    parts = [inputs.digest, repr(how), *map(sha256, drivers)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _write(
    path: Path, cells: Sequence[Cell], consumers: Sequence[Consumer], *, keeps_others: bool, num_texts: int
) -> None:
    """Write the results. `keeps_others`: keep those of consumers that did not run now."""
    merged = {**(read_cells(path) if keeps_others else {}), **{(each.consumer, each.variant): each for each in cells}}
    order = [each.name for each in consumers]
    known = [cell for cell in merged.values() if cell.consumer in order]
    known.sort(key=lambda cell: (order.index(cell.consumer), column_order(cell.variant)))
    notes = {consumer.name: consumer.note for consumer in consumers if consumer.note}
    write_cells(path, known, notes=notes, num_texts=num_texts)


if __name__ == "__main__":
    sys.exit(main())
