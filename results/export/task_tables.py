"""The labelled tables of a task, for the scripts of this folder: DATA/train.tsv, DATA/dev.tsv and DATA/test.tsv."""

import argparse
from pathlib import Path

from compress.data.columns import Split
from compress.data.tasks import read_split


def add_arguments(parser: argparse.ArgumentParser, *, max_length: int) -> None:
    """Add the arguments that name the tables, and the limit of tokens per text. `max_length`: its default."""
    parser.add_argument("data", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--labels", default="0,1", help="the tables' labels, in the order of the model's outputs")
    parser.add_argument("--max-length", type=int, default=max_length)


def read(arguments: argparse.Namespace, name: str) -> Split:
    """One of the tables, by its name without `.tsv`."""
    return read_split(
        arguments.data / f"{name}.tsv",
        text=[arguments.text],
        label="label",
        labels=arguments.labels.split(","),
        task_type="classification",
    )
