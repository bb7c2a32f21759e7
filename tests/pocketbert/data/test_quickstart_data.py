import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
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


def test_a_damaged_file_is_fetched_again(downloads, capsys):
    path = quickstart_data.fetch("builtin:movie-snippets")
    content = path.read_bytes()
    for number, damaged in enumerate((content[:40], bytes(len(content)), b""), start=2):
        path.write_bytes(damaged)
        assert quickstart_data.fetch("builtin:movie-snippets").read_bytes() == content
        assert len(downloads) == number
        assert f"{path} is damaged (" in capsys.readouterr().err


def test_a_damaged_file_of_an_earlier_version_is_fetched_again(downloads, capsys, monkeypatch):
    path = quickstart_data.fetch("builtin:movie-snippets")
    content = path.read_bytes()
    shutil.rmtree(path.parent / ".seals")
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(quickstart_data.CONTENT_SHA256, "movie-snippets", digest)
    quickstart_data.fetch("builtin:movie-snippets")
    assert len(downloads) == 1 and not capsys.readouterr().err
    path.write_bytes(content[:40])
    assert quickstart_data.fetch("builtin:movie-snippets").read_bytes() == content
    assert len(downloads) == 2 and "is damaged; it is fetched again" in capsys.readouterr().err


FETCH = """
import sys, time
from pathlib import Path
sys.path.insert(0, str(Path("tests/pocketbert/data")))
import test_quickstart_data as fake
from pocketbert.data import quickstart_data

def download(folder):
    (Path(sys.argv[1]) / f"download-{time.time_ns()}").touch()
    return fake.archive_in_archive(folder)

quickstart_data._download = download
print(quickstart_data.fetch("builtin:movie-snippets").read_text())
"""


def test_two_first_fetches_at_once_download_once(tmp_path):
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "POCKETBERT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", FETCH, str(tmp_path)]
    fetches = [
        subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [fetch.communicate(timeout=120) for fetch in fetches]
    assert [fetch.returncode for fetch in fetches] == [0, 0], outputs
    assert outputs[0] == outputs[1] and "A fine film,positive" in outputs[0][0]
    assert len(list(tmp_path.glob("download-*"))) == 1
