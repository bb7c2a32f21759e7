import io
import json
import tarfile
from pathlib import Path

import pytest

from compress.common.errors import UserError
from compress.data import corpus
from compress.tables.table import read_table
from pocketbert.data import quickstart_data

MOVIES = '1\t2.5\tA  fine film\n2\t-0.5\tdull, and "flat"\n3\t0.4\tundecided\n4\t-3.0\tawful\u2028story\n'
OTHERS = {"nytEditorialSnippets": "1\t0.0\tan editorial\n", "amazonReviewSnippets": "2\t1.0\ta review\n"}


def archive_in_archive(folder: Path) -> Path:
    """The source distribution's layout: a package with an archive of tables inside."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, text in {"movieReviewSnippets": MOVIES, **OTHERS, "tweets": "3\t-1\ta tweet \U0001f600\n"}.items():
            add(tar, f"hutto_ICWSM_2014/{name}_GroundTruth.txt", text.encode())
    with tarfile.open(folder / "package.tar.gz", "w:gz") as tar:
        add(tar, f"package-1.0/{quickstart_data.INNER_ARCHIVE}", inner.getvalue())
    return folder / "package.tar.gz"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """Records downloads, which the test replaces."""
    calls = []
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(quickstart_data, "_download", lambda folder: calls.append(folder) or archive_in_archive(folder))
    return calls


def test_movie_snippets_are_labelled_by_their_sign_and_undecided_ones_left_out(downloads):
    table = read_table(quickstart_data.fetch("builtin:movie-snippets")).frame
    assert table.to_dict("records") == [
        {"text": "A fine film", "label": "positive"},
        {"text": 'dull, and "flat"', "label": "negative"},
        {"text": "awful story", "label": "negative"},
    ]


def test_the_other_texts_are_a_corpus(downloads):
    path = quickstart_data.fetch("builtin:other-snippets")
    assert list(corpus.read_texts([path])) == ["an editorial", "a review", "a tweet \U0001f600"]
    assert json.loads(path.read_text(encoding="utf-8").split("\n")[0]) == {"text": "an editorial"}


def test_data_are_downloaded_once(downloads):
    assert quickstart_data.fetch("builtin:movie-snippets") == quickstart_data.fetch("builtin:movie-snippets")
    assert len(downloads) == 1


def test_an_unknown_name_is_an_error():
    with pytest.raises(UserError, match="expected one of builtin:movie-snippets, builtin:other-snippets"):
        quickstart_data.fetch("builtin:books")
