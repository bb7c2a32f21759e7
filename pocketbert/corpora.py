"""The corpora a recipe names: where they lie, what identifies them, and their texts."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from compress import corpus
from compress.errors import UserError
from compress.files import sha256_of_all
from compress.tasks import Task
from pocketbert import builtin
from pocketbert.training_keys import GeneralSection

HUB = "hub:"


def corpus_path(name: str) -> Path:
    """The file or folder of a corpus entry."""
    path = builtin.fetch(name) if name.startswith(builtin.PREFIX) else Path(name).expanduser()
    if not path.exists():
        raise UserError(f"distill.general.corpus: {path}: no such file or folder")
    return path


def corpus_identity(name: str) -> str:
    """sha256 over the content of the entry's files; a data set of the Hub is known by its name."""
    if name.startswith(HUB):
        return name
    path = corpus_path(name)
    return sha256_of_all(file for file in (path.glob("*") if path.is_dir() else [path]) if file.is_file())


def texts_of(section: GeneralSection, task: Task) -> Iterator[str]:
    """The texts of all entries, one after another, `max_texts` at most; `task` stands for the task's train texts."""
    return islice(chain.from_iterable(_texts(name, section, task) for name in section.corpus), section.max_texts)


def _texts(name: str, section: GeneralSection, task: Task) -> Iterator[str]:
    if name == "task":
        return chain(task.train.texts, task.train.pairs or [])
    if name.startswith(HUB):
        location, _, subset = name.removeprefix(HUB).partition(":")
        return corpus.stream_texts(location, subset or None, column=section.text)
    return corpus.read_texts([corpus_path(name)])
