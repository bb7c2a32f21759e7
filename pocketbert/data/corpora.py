"""The corpora a recipe names: where they lie, what identifies them, and their texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from compress.common.errors import UserError
from compress.common.files import sha256_of_all
from compress.data import corpus
from compress.data.tasks import Task
from pocketbert.data import quickstart_data
from pocketbert.recipe.training import CorpusSection

HUB = "hub:"


@contextmanager
def error_context(section: CorpusSection) -> Iterator[None]:
    """Inside, errors about a corpus begin with the key that names it."""
    try:
        yield
    except UserError as error:
        raise error.within(f"{section.key}.corpus") from error


def corpus_path(name: str) -> Path:
    """The file or folder of a corpus entry."""
    path = quickstart_data.fetch(name) if name.startswith(quickstart_data.PREFIX) else Path(name).expanduser()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return path


def identities(section: CorpusSection, task: Task) -> list[str]:
    """What each entry is known by: sha256 over the content of its files; of a data set of the Hub, its name."""
    with error_context(section):
        return [task.fingerprint() if name == "task" else _identity(name) for name in section.corpus]


def _identity(name: str) -> str:
    if name.startswith(HUB):
        return name
    path = corpus_path(name)
    return sha256_of_all(file for file in (path.glob("*") if path.is_dir() else [path]) if file.is_file())


def texts_of(section: CorpusSection, task: Task) -> Iterator[str]:
    """The texts of all entries, one after another, `max_texts` at most; `task` stands for the task's train texts."""
    return islice(chain.from_iterable(_texts(name, section, task) for name in section.corpus), section.max_texts)


def _texts(name: str, section: CorpusSection, task: Task) -> Iterator[str]:
    if name == "task":
        return chain(task.train.texts, task.train.pairs or [])
    if name.startswith(HUB):
        location, _, subset = name.removeprefix(HUB).partition(":")
        return corpus.stream_texts(location, subset or None, column=section.text)
    return corpus.read_texts([corpus_path(name)])
