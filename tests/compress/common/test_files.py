"""Files are replaced atomically, and a seal detects every damage."""

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compress.common.files import disk_errors, replacing, sha256_of_all, write_json, write_text
from compress.common.seals import damage_of, is_intact, seal, seal_file

ROOT = Path(__file__).resolve().parents[3]


def test_names_that_are_not_utf_8_have_hashes_too(tmp_path):
    digests = set[str]()
    for name in (b"a", b"\xff", b"\xfe"):
        path = tmp_path / os.fsdecode(name)
        path.touch()
        digests.add(sha256_of_all([path]))
    assert len(digests) == 3


def test_a_failed_write_leaves_the_old_content_and_no_partial_file(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "old": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


WRITERS = {
    "text": lambda path: path.write_text("x" * 100_000),
    "numpy": lambda path: np.save(path.open("wb"), np.zeros(100_000)),
    "torch": lambda path: torch.save(torch.zeros(100_000), path),
    "safetensors": lambda path: save_file({"a": torch.zeros(100_000)}, path),
}


@pytest.fixture
def small_files():
    """No file may grow beyond 20 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_failed_write_is_an_os_error_with_the_path(tmp_path, small_files, name):
    """The libraries raise exceptions of their own, without the path."""
    path = tmp_path / "weights"
    with pytest.raises(OSError) as replaced, replacing(path) as partial:
        WRITERS[name](partial)
    with pytest.raises(OSError) as written, disk_errors(tmp_path):
        WRITERS[name](path)
    assert replaced.value.filename == str(path) and written.value.filename == str(tmp_path)
    assert {replaced.value.errno, written.value.errno} <= {errno.EFBIG, errno.EIO}


def test_other_errors_of_a_writer_stay_as_they_are(tmp_path):
    for error in (KeyError("x"), RuntimeError("no write"), FileNotFoundError(2, "No such file", "x")):
        with pytest.raises(type(error)) as caught, disk_errors(tmp_path), replacing(tmp_path / "y"):
            raise error
        assert caught.value is error and getattr(error, "filename", "x") == "x"


def test_a_link_and_the_permissions_of_its_target_are_kept(tmp_path):
    target = tmp_path / "elsewhere" / "target.txt"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link.txt").symlink_to("elsewhere/target.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / ("long name " * 25)[:250], "x")
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_pipe_or_a_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="not a regular file"):
            write_text(tmp_path / name, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


WRITER = """
import sys
from pathlib import Path
from compress.common.files import write_text
for _ in range(60):
    write_text(Path(sys.argv[1]), sys.argv[2] * 20_000)
"""


def test_concurrent_writers_of_a_path_do_not_mix(tmp_path):
    path = tmp_path / "shared.txt"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter], cwd=ROOT, stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0], [writer.stderr.read() for writer in writers]
    assert path.read_text() in ("a" * 20_000, "b" * 20_000)
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.txt"]


def test_a_seal_detects_every_truncation_and_every_flipped_bit(tmp_path):
    file, record, content = tmp_path / "file", tmp_path / "record", bytes(range(64))
    file.write_bytes(content)
    seal([file], record)
    assert damage_of(record) is None
    damages = [content[:length] for length in range(64)]
    for position in range(64 * 8):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        damages.append(bytes(flipped))
    for damaged in damages:
        file.write_bytes(damaged)
        assert damage_of(record) is not None
    assert len(damages) == 64 + 512
    file.unlink()
    assert damage_of(record) == "file is missing"


def test_a_damaged_file_is_reported_and_an_unfinished_one_is_not(tmp_path, capsys):
    file = tmp_path / "array.npy"
    assert not is_intact(file)
    file.write_bytes(b"content")
    assert not is_intact(file)
    assert capsys.readouterr().err == ""
    seal_file(file)
    assert is_intact(file)
    file.write_bytes(b"conten")
    assert not is_intact(file)
    assert capsys.readouterr().err == f"{file} is damaged (array.npy has 6 bytes, expected 7); it is made again\n"
