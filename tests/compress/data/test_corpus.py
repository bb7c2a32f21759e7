"""Tests of reading running text and of writing it as token blocks."""

import json

import datasets
import pytest

from compress.common.errors import UserError
from compress.data import corpus, token_blocks
from compress.data.token_blocks import write_token_blocks
from tiny_bert import in_a_recipe


def test_without_blank_lines_each_line_of_a_text_file_is_a_document(tmp_path):
    (tmp_path / "a.txt").write_text("one\n two \nthree\n\n\n", encoding="utf-8")
    assert list(corpus.read_texts([tmp_path / "a.txt"])) == ["one", "two", "three"]


def test_blank_lines_separate_documents(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n\n\nthree\n \nfour\nfive", encoding="utf-8-sig")
    assert list(corpus.read_texts([tmp_path / "a.txt"])) == ["one two", "three", "four five"]


def test_a_data_set_in_the_layout_of_the_hub_is_streamed(tmp_path):
    table = datasets.Dataset.from_dict({"title": ["a", "b", "c"], "body": ["first text", " ", "second text"]})
    table.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    assert list(corpus.stream_texts(str(tmp_path), column="body")) == ["first text", "second text"]
    with pytest.raises(UserError, match=r"no column 'text'; it has title, body$") as error:
        list(corpus.stream_texts(str(tmp_path)))
    assert in_a_recipe(error.value).endswith("; name the right one in the key text")
    with pytest.raises(UserError, match="'nobody/nothing' could not be read as a data set"):
        list(corpus.stream_texts("nobody/nothing"))


WORDS = ["the film was fine and the music was dull", "story", "plot of a cast with the end " * 9]


def test_each_block_belongs_to_one_document_and_no_token_is_lost(tmp_path, tokenizer):
    dataset = write_token_blocks(WORDS, tokenizer, tmp_path, max_length=8)
    rows = dataset.rows["input_ids"]
    assert dataset.lengths.tolist() == [len(row) for row in rows] and max(dataset.lengths) == 8
    assert all((row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id) for row in rows)
    inner = [row[1:-1] for row in rows]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in WORDS]
    documents = []
    for ids in expected:
        document = []
        while len(document) < len(ids):
            document += inner.pop(0)
        documents.append(document)
    assert documents == expected and not inner


def test_interrupted_writing_resumes_and_reads_no_text_twice(tmp_path, tokenizer, monkeypatch):
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

    for name in ("00001.arrow", "blocks.json"):
        damaged = tmp_path / "cut" / name
        damaged.write_bytes(damaged.read_bytes()[:-20])
        repaired = write_token_blocks(iter(texts), tokenizer, tmp_path / "cut", max_length=16)
        assert repaired.rows["input_ids"] == whole.rows["input_ids"]

    def never_read():
        raise AssertionError("texts of complete blocks must not be read again")
        yield

    assert len(write_token_blocks(never_read(), tokenizer, tmp_path / "whole", max_length=16).rows) == len(whole.rows)


def test_an_empty_corpus_is_refused(tmp_path, tokenizer):
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
def test_an_unreadable_corpus_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        list(corpus.read_texts([tmp_path / name]))


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"contains no \.txt or \.jsonl file"):
        list(corpus.read_texts([tmp_path]))
