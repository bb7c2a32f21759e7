"""The labels of tables on the command line: the option --labels, and how labels were read."""

import csv
import io
from collections.abc import Sequence

from rich.console import Console

from compress.common.console import notice, remark
from compress.common.errors import UserError
from compress.data.label_matching import check_table_labels
from compress.data.task_types import TaskTypeName, task_type


def require_table_labels(labels: Sequence[str], names: Sequence[str], kind: TaskTypeName, *, model: str) -> None:
    """Raise UserError unless `labels` of a table can stand for the outputs of a model, called `names`."""
    if not task_type(kind).has_classes:
        raise UserError(f"--labels {joined_labels(labels)}: {model} is a {kind} model, so its table holds numbers")
    check_table_labels(labels, names, model=model)


def joined_labels(labels: Sequence[str]) -> str:
    """The value of --labels. A label with a comma is in double quotes."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(labels)
    return buffer.getvalue()


def print_remarks(remarks: Sequence[str], console: Console) -> None:
    """Print how a table was read, one line each."""
    for each in remarks:
        console.print(remark(each), soft_wrap=True)


def print_warning(text: str, console: Console) -> None:
    """Print a warning as one line."""
    console.print(notice("warning:", "yellow", text), soft_wrap=True)
