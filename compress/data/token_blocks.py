"""Running text as blocks of tokens on disk: written once, then read at random by every process, whatever its size."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.data.arrow_shards import TOKENS, token_dataset_of_shards, write_shard
from compress.data.tokenization import TokenDataset, split_into_blocks

SHARD_ROWS = 50_000
TEXTS_AT_ONCE = 500
RECORD = "blocks.json"


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The content of blocks.json. `shards`: names of the files written so far, of the first `num_texts` texts."""

    shards: tuple[str, ...] = ()
    num_texts: int = 0
    complete: bool = False


def write_token_blocks(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    max_length: int,
    on_progress: Callable[[int], None] = lambda num_texts: None,
) -> TokenDataset:
    """Cut each document into blocks of `max_length` tokens, special ones included, and keep them in `folder`.

    No block holds parts of two documents; the last of a document is as short as it comes. Cut off and called again, the
    texts read before are passed over. Of several processes the main one writes. Raises UserError where there are none.
    """
    if distributed.is_main():
        _write(texts, tokenizer, folder, max_length, on_progress)
    distributed.broadcast_from_main(None)  # wait until it is written
    return token_dataset_of_shards([folder / name for name in _read(folder).shards], tokenizer)


def _write(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    max_length: int,
    on_progress: Callable[[int], None],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = _read(folder)
    if record.complete:
        return
    unread = islice(texts, record.num_texts, None)
    for num_texts, blocks in _shards(unread, tokenizer, max_length):
        name = f"{len(record.shards):05}.arrow"
        write_shard(pa.table({"input_ids": pa.array(blocks, type=TOKENS)}), folder / name)
        record = _Record(shards=(*record.shards, name), num_texts=record.num_texts + num_texts)
        write_json(folder / RECORD, asdict(record))
        on_progress(record.num_texts)
    if not record.shards:
        raise UserError("there is no text in it")
    write_json(folder / RECORD, asdict(replace(record, complete=True)))


def _read(folder: Path) -> _Record:
    try:
        return _Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return _Record()


def _shards(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[tuple[int, list[list[int]]]]:
    """(texts read, their blocks), many at a time."""
    blocks: list[list[int]] = []
    num_texts = 0
    while batch := list(islice(texts, TEXTS_AT_ONCE)):
        blocks += split_into_blocks(batch, tokenizer, max_length=max_length)
        num_texts += len(batch)
        if len(blocks) >= SHARD_ROWS:
            yield num_texts, blocks
            blocks, num_texts = [], 0
    if blocks:
        yield num_texts, blocks
