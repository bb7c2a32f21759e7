"""`pocketbert predict BUNDLE TABLE --output FILE`: predictions for the rows of a table. A stopped run continues."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from compress.common.console import notice, remark
from compress.common.errors import UserError
from compress.common.files import replacing, sha256
from compress.common.progress import progress_bar
from compress.common.wording import counted
from compress.tables.content import has_half_pair
from compress.tables.table import suffix_of
from export.bundle.listed_files import SUMS_FILE, BundleError
from export.bundle.runtime import Classifier, most_probable
from pocketbert.table_predictions.contents import Contents, contents_of, texts_of
from pocketbert.table_predictions.reading import Table, Window, open_table, window_limits, windows
from pocketbert.table_predictions.unfinished import (
    NO_TEXT,
    PREDICTED,
    TRUNCATED,
    UnfinishedFile,
    open_unfinished,
    records,
)
from pocketbert.table_predictions.writing import require_format, writer


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """What to predict. `text`: the text columns, or none to find them by their names. `prefix`: of the new columns."""

    table: Path
    output: Path
    text: Sequence[str]
    encoding: str
    top_k: int | None
    prefix: str


def predict_rows(classifier: Classifier, request: TableRequest, console: Console) -> None:
    """Write the table with a label and its probability, or a value, for each row. Raises UserError.

    The rows stay in their order. A row without text has no prediction. After a kill, the same call continues.
    """
    path, output = request.table, request.output
    require_format(output)
    _require_absent(output)
    before = _state_of(path)
    table = open_table(path, encoding=request.encoding, columns=request.text)
    if table.description:
        console.print(remark(f"{path}: {table.description}"), soft_wrap=True)
    contents = contents_of(table, text=request.text, takes_pairs=classifier.takes_pairs)
    top_k = _checked_top_k(classifier, request.top_k)
    new_types = _new_columns(classifier, top_k, request.prefix)
    _check_new_names(path, contents, new_types)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished_path = output.with_name(f"{output.name}.partial")
    origin = {
        "table": sha256(path),
        "bundle": sha256(classifier.folder / SUMS_FILE),
        "text": list(contents.text),
        "encoding": table.encoding,
        "top_k": top_k,
        "windows": window_limits(),
    }
    with open_unfinished(unfinished_path, origin, top_k) as unfinished:
        if unfinished.num_rows:
            console.print(remark(f"continues at row {unfinished.num_rows + 1:,} of {contents.num_rows:,}"))
        _predict(classifier, table, contents, unfinished, top_k, console)
        if _state_of(path) != before:
            raise UserError(f"{path}: changed while it was read; run the command again")
        _require_absent(output)
        states = _write(output, table, contents, new_types, unfinished, classifier)
    unfinished_path.unlink()
    console.print(remark(f"{output}: {contents.num_rows:,} rows"))
    if states[TRUNCATED]:
        console.print(
            remark(f"{counted(states[TRUNCATED], 'text is', 'texts are')} truncated to {classifier.max_length} tokens")
        )
    if contents.without_text:
        console.print(
            notice(
                "warning:",
                "yellow",
                f"{counted(contents.without_text, 'row has', 'rows have')} no text and so no prediction; the first is "
                f"row {contents.first_without_text:,}",
            )
        )


def _require_absent(output: Path) -> None:
    if os.path.lexists(output):
        raise UserError(f"{output}: already exists; move it away, or choose another --output")


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _checked_top_k(classifier: Classifier, top_k: int | None) -> int:
    try:
        classifier.check_top_k(top_k)
    except BundleError as error:
        raise UserError(str(error)) from error
    return min(top_k or 1, len(classifier.labels))


def _new_columns(classifier: Classifier, top_k: int, prefix: str) -> dict[str, type]:
    """The types of the new columns, by name: label and probability, label_2 and probability_2, or a value."""
    if has_half_pair(prefix):
        raise UserError(f"--prefix {prefix!a}: got bytes that are not text")
    if classifier.task_type == "regression":
        return {prefix + classifier.labels[0]: float}
    ends = ["", *(f"_{rank}" for rank in range(2, top_k + 1))]
    return {f"{prefix}{name}{end}": each for end in ends for name, each in (("label", str), ("probability", float))}


def _check_new_names(path: Path, contents: Contents, new_types: Mapping[str, type]) -> None:
    taken = next((name for name in new_types if name in contents.types), None)
    if taken is not None:
        raise UserError(
            f"{path}: has a column {taken!r} already; name the new columns with --prefix, such as --prefix predicted_"
        )


def _predict(
    classifier: Classifier,
    table: Table,
    contents: Contents,
    unfinished: UnfinishedFile,
    top_k: int,
    console: Console,
) -> None:
    """Predict the rows after those in the unfinished file."""
    with progress_bar("predict", console) as on_progress:
        on_progress(unfinished.num_rows, contents.num_rows)
        for window in windows(table, columns=contents.text):
            if window.first < unfinished.num_rows:
                continue
            unfinished.append(_predicted(classifier, table.path, contents.text, window, top_k))
            on_progress(unfinished.num_rows, contents.num_rows)


def _predicted(classifier: Classifier, path: Path, text: Sequence[str], window: Window, top_k: int) -> np.ndarray:
    """The records of a window."""
    block = records(len(window.rows), top_k)
    texts = [texts_of(path, number, row, text) for number, row in enumerate(window.rows, start=window.first + 1)]
    filled = [index for index, each in enumerate(texts) if each is not None]
    if not filled:
        return block
    columns = list(zip(*(each for each in texts if each is not None), strict=True))
    try:
        encodings = classifier.encode(*columns)
        logits = classifier.logits_of(encodings)
    except BundleError as error:
        first, last = window.first + filled[0] + 1, window.first + filled[-1] + 1
        raise UserError(
            f"{path}, rows {first:,} to {last:,}: the bundle failed: {error}; `pocketbert verify` checks its files"
        ) from error
    answers = classifier.answers(logits)
    best = most_probable(answers, top_k)
    block["state"][filled] = [TRUNCATED if classifier.is_truncated(each) else PREDICTED for each in encodings]
    block["labels"][filled] = best
    block["values"][filled] = np.take_along_axis(answers, best, axis=1)
    return block


def _write(
    output: Path,
    table: Table,
    contents: Contents,
    new_types: Mapping[str, type],
    unfinished: UnfinishedFile,
    classifier: Classifier,
) -> dict[int, int]:
    """Write the output. Returns how many rows have each state."""
    states = dict.fromkeys((NO_TEXT, PREDICTED, TRUNCATED), 0)
    with (
        replacing(output) as file,
        writer(file, output, types=contents.types, new_types=new_types, schema=contents.schema) as write,
    ):
        needed = () if suffix_of(output) == ".parquet" else None
        for window, block in zip(windows(table, columns=needed), unfinished.read(), strict=True):
            write(window, dict(zip(new_types, _columns(block, classifier), strict=True)))
            for state in states:
                states[state] += int((block["state"] == state).sum())
    return states


def _columns(block: np.ndarray, classifier: Classifier) -> Iterator[list[Any]]:
    """The values of the new columns, in their order; None for a row without text."""
    has_text = (block["state"] != NO_TEXT).tolist()
    for rank in range(block["labels"].shape[1]):
        values = [round(value, 6) for value in block["values"][:, rank].tolist()]
        labels = [classifier.labels[index] for index in block["labels"][:, rank].tolist()]
        for column in (values,) if classifier.task_type == "regression" else (labels, values):
            yield [value if known else None for value, known in zip(column, has_text, strict=True)]
