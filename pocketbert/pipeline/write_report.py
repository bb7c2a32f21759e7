"""`pocketbert report`: the report of a run or a benchmark, from its results.json."""

import os
from pathlib import Path

from bench.report.render import write_reports
from bench.results.document import Results, read_results
from compress.common.console import of_markup
from compress.common.owned_files import OwnedFolder, open_output, print_to_stderr
from pocketbert.store.manifest import MANIFEST
from pocketbert.store.run_folder import REPORTS, Run


def write_report(folder: Path) -> None:
    """Write report.html and report.md into the folder of a run or of a benchmark. Raises UserError."""
    results = read_results(folder)
    if os.path.lexists(folder / MANIFEST):
        with Run(folder, versions={}, announce=lambda line: print_to_stderr(of_markup(line).plain)) as run:
            _write(results, run.owned)
    else:
        _write(results, open_output(folder, REPORTS))


def _write(results: Results, owned: OwnedFolder) -> None:
    with owned.writing(*REPORTS) as folder:
        write_reports(results, folder)
