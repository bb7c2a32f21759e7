"""Corpora of any origin: pipes do not block, and a line has a limit."""

import os

import pytest

from compress.augmentation.words import load_stop_words
from compress.common.errors import UserError
from compress.data import corpus


def test_a_pipe_is_refused_and_blocks_nothing(tmp_path):
    os.mkfifo(tmp_path / "texts.txt")
    with pytest.raises(UserError, match="got a pipe, expected a file"):
        list(corpus.read_texts([tmp_path / "texts.txt"]))
    with pytest.raises(UserError, match="got a pipe, expected a file"):
        load_stop_words(str(tmp_path / "texts.txt"))


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl"])
def test_a_line_has_a_limit(tmp_path, monkeypatch, name):
    monkeypatch.setattr(corpus, "MAX_LINE_CHARACTERS", 30)
    path = tmp_path / name
    path.write_text('{"text": "short"}\n' + f'{{"text": "{"x" * 40}"}}\n')
    with pytest.raises(UserError, match="line 2: got more than 30 characters"):
        list(corpus.read_texts([path]))
