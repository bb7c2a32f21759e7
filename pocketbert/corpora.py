"""The corpora a recipe names: where they lie, and what identifies them."""

from pathlib import Path

from compress.errors import UserError
from compress.files import sha256_of_all
from pocketbert import builtin


def corpus_path(name: str) -> Path:
    """The file or folder of a corpus entry."""
    path = builtin.fetch(name) if name.startswith(builtin.PREFIX) else Path(name).expanduser()
    if not path.exists():
        raise UserError(f"distill.general.corpus: {path}: no such file or folder")
    return path


def corpus_identity(name: str) -> str:
    """sha256 over the content of the entry's files."""
    path = corpus_path(name)
    return sha256_of_all(file for file in (path.glob("*") if path.is_dir() else [path]) if file.is_file())
