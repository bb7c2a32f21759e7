"""The corpora of a recipe: their files, their identities and their texts."""

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
    """A context in which errors about a corpus start with the recipe key of the corpus."""
    try:
        yield
    except UserError as error:
        raise error.within(f"{section.key}.corpus") from error


def corpus_path(name: str) -> Path:
    """The file or folder of an entry in the corpus list. Raises UserError if there is none."""
    path = quickstart_data.fetch(name) if name.startswith(quickstart_data.PREFIX) else Path(name).expanduser()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return path


def identities(section: CorpusSection, task: Task) -> list[str]:
    """The identity of each entry, for fingerprints: sha256 of its files, or the name of a Hub data set."""
    with error_context(section):
        return [task.fingerprint() if name == "task" else _identity(name) for name in section.corpus]


def _identity(name: str) -> str:
    if name.startswith(HUB):
        return name
    path = corpus_path(name)
    return sha256_of_all(file for file in (path.glob("*") if path.is_dir() else [path]) if file.is_file())


def texts_of(section: CorpusSection, task: Task) -> Iterator[str]:
    """The texts of all entries in order, up to `max_texts`. The entry `task` means the train texts of the task."""
    return islice(chain.from_iterable(_texts(name, section, task) for name in section.corpus), section.max_texts)


def _texts(name: str, section: CorpusSection, task: Task) -> Iterator[str]:
    if name == "task":
        return chain(task.train.texts, task.train.pairs or [])
    if name.startswith(HUB):
        location, _, subset = name.removeprefix(HUB).partition(":")
        return corpus.stream_texts(location, subset or None, column=section.text)
    return corpus.read_texts([corpus_path(name)])
