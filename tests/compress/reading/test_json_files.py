"""JSON files: damage of every type ends in one line."""

import json
import os

import pytest

from bench.results.document import read_results
from compress.common.errors import UserError
from compress.reading.json_files import parse_json, read_json_object
from pocketbert.standalone.explain_export import read_export_file
from pocketbert.store.manifest import read_manifest, read_record

DAMAGED = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n", "the file is empty"),
    "cut off": (b'{"format_version": 2, "sta', "Unterminated string"),
    "binary": (b"\x00\x01\xff", "not UTF-8 text, at byte 2"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8 text, at byte 0"),
    "NaN": (b'{"a": NaN}', "it contains NaN"),
    "infinity": (b'{"a": [-Infinity]}', "it contains -Infinity"),
    "a float that is too large": (b'{"a": 1e999}', "a number that is too large"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
    "a number of 30 digits": (b'{"a": ' + b"9" * 30 + b"}", "more than 64 bits"),
    "a key twice": (b'{"a": 1, "b": 2, "a": 3}', "it has the key 'a' twice"),
    "half of a pair": (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    "a key with half of a pair": (b'{"\\udfff": 1}', "half of a surrogate pair"),
    "nested": (b'{"a":' + b"[" * 100_000, "nested more than 64 levels deep"),
    "nested and closed": (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 64 levels deep"),
    "a list": (b"[1]", "got a list, expected an object"),
    "a number": (b"3", "got a number, expected an object"),
    "null": (b"null", "got a null, expected an object"),
}
READERS = {
    "manifest.json": (read_manifest, "move the folder away to start the run over"),
    "results.json": (read_results, "run the recipe again"),
    "export.json": (read_export_file, "remove the file, or export to another folder"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_in_one_line_by_every_reader(tmp_path, content, reason):
    for name, (read, advice) in READERS.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as refused:
            read(tmp_path)
        message = str(refused.value)
        assert message.startswith(f"{tmp_path / name}: ") and reason in message and advice in message
        assert "\n" not in message and len(message) < 500
    record = tmp_path / "record.json"
    record.write_bytes(content)
    assert read_record(record) is None


def test_what_is_no_file_is_refused_and_blocks_nothing(tmp_path):
    for name, (read, _) in READERS.items():
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="got a pipe, expected a file"):
            read(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match="got a folder, expected a file"):
            read(tmp_path)
        (tmp_path / name).rmdir()
        (tmp_path / name).symlink_to(tmp_path / "nothing")
        with pytest.raises(UserError, match="a link to a missing file"):
            read(tmp_path)
        (tmp_path / name).unlink()
    assert read_manifest(tmp_path) == {} and read_export_file(tmp_path) is None


def test_sound_json_is_read_as_python_reads_it(tmp_path):
    content = {"é": [1, -2.5, None, True, "\U0001f600"], "levels": [[[[[]]]]], "large": 2**62}
    text = json.dumps(content)
    assert parse_json(text.encode()) == content
    assert parse_json(b"\xef\xbb\xbf" + text.encode()) == content
    path = tmp_path / "sound.json"
    path.write_text(json.dumps(content, ensure_ascii=False))
    assert read_json_object(path, problem="not readable", advice="try again") == content
