"""Running text: how it is read, and how it becomes blocks."""

import json

import datasets
import pytest

from compress.common.errors import UserError
from compress.data import corpus, token_blocks
from compress.data.token_blocks import write_token_blocks
from tiny_bert import in_a_recipe


def test_a_text_file_without_blank_lines_holds_a_document_a_line(tmp_path):
    (tmp_path / "a.txt").write_text("one\n two \nthree\n\n\n", encoding="utf-8")
    assert list(corpus.read_texts([tmp_path / "a.txt"])) == ["one", "two", "three"]


def test_blank_lines_part_documents(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n\nthree\n \nfour\nfive", encoding="utf-8-sig")
    assert list(corpus.read_texts([tmp_path / "a.txt"])) == ["one two", "three", "four five"]


def test_a_data_set_in_the_hubs_layout_is_read_as_a_stream(tmp_path):
    table = datasets.Dataset.from_dict({"title": ["a", "b", "c"], "body": ["first text", " ", "second text"]})
    table.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    assert list(corpus.stream_texts(str(tmp_path), column="body")) == ["first text", "second text"]
    with pytest.raises(UserError, match=r"no column 'text'; it has title, body$") as told:
        list(corpus.stream_texts(str(tmp_path)))
    assert in_a_recipe(told.value).endswith("; name the right one in the key text")
    with pytest.raises(UserError, match="'nobody/nothing' could not be read as a data set"):
        list(corpus.stream_texts("nobody/nothing"))


WORDS = ["the film was fine and the music was dull", "story", "plot of a cast with the end " * 9]


def test_blocks_keep_to_their_document_and_lose_no_token(tmp_path, tokenizer):
    packed = write_token_blocks(WORDS, tokenizer, tmp_path, max_length=8)
    rows = packed.rows["input_ids"]
    assert packed.lengths.tolist() == [len(row) for row in rows] and max(packed.lengths) == 8
    assert all((row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id) for row in rows)
    inner = [row[1:-1] for row in rows]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in WORDS]
    found = []
    for ids in expected:
        document = []
        while len(document) < len(ids):
            document += inner.pop(0)
        found.append(document)
    assert found == expected and not inner


def test_packing_that_was_cut_off_goes_on_and_reads_no_text_twice(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(token_blocks, "SHARD_ROWS", 10)
    monkeypatch.setattr(token_blocks, "TEXTS_AT_ONCE", 4)
    texts = [f"{WORDS[index % 3]} {'a ' * index}" for index in range(60)]

    def failing():
        yield from texts[:33]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_token_blocks(failing(), tokenizer, tmp_path / "cut", max_length=16)
    record = json.loads((tmp_path / "cut" / "blocks.json").read_text())
    assert 0 < record["num_texts"] < 33 and not record["complete"]
    resumed = write_token_blocks(iter(texts), tokenizer, tmp_path / "cut", max_length=16)
    whole = write_token_blocks(texts, tokenizer, tmp_path / "whole", max_length=16)
    assert len(list((tmp_path / "whole").glob("*.arrow"))) > 3
    assert resumed.rows["input_ids"] == whole.rows["input_ids"]

    def untouched():
        raise AssertionError("what is complete is not read again")
        yield

    assert len(write_token_blocks(untouched(), tokenizer, tmp_path / "whole", max_length=16).rows) == len(whole.rows)


def test_an_empty_corpus_is_told(tmp_path, tokenizer):
    with pytest.raises(UserError, match=r"^there is no text in it$"):
        write_token_blocks([], tokenizer, tmp_path, max_length=8)
    assert len(write_token_blocks(["one line"], tokenizer, tmp_path, max_length=8).rows) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "one"}\nnot json\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", '{"body": "one"}\n', 'line 1: expected an object with a string under "text"'),
        ("a.txt", b"caf\xe9", "a.txt is not utf-8 text"),
        ("a.pdf", "x", r"cannot read .*a\.pdf; expected \.txt or \.jsonl"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        list(corpus.read_texts([tmp_path / name]))


def test_a_folder_without_texts_is_told(tmp_path):
    with pytest.raises(UserError, match=r"holds no \.txt or \.jsonl file"):
        list(corpus.read_texts([tmp_path]))
