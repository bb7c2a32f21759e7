"""Running text as token blocks on disk. One process writes them, and all processes read them in random order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter
from transformers import PreTrainedTokenizerBase

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.seals import is_intact, report_damage
from compress.data.arrow_shards import TOKENS, token_dataset_of_shards, write_sealed_shard
from compress.data.tokenization import TokenDataset, split_into_blocks

SHARD_ROWS = 50_000
TEXTS_AT_ONCE = 500
RECORD = "blocks.json"


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The content of blocks.json. `shards`: files written so far, which contain the first `num_texts` texts."""

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
    """Split each document into blocks of `max_length` tokens, including special tokens, and write them to `folder`.

    Each block belongs to one document, so the last block of a document may be shorter. A second call resumes after an
    interruption and skips the texts that are already written. Only the main process writes. Raises UserError if there
    are no texts.
    """
    shards = tuple[str, ...]()
    if distributed.is_main():
        shards = _write_shards(texts, tokenizer, folder, max_length, on_progress)
    shards = distributed.broadcast_from_main(shards)
    return token_dataset_of_shards([folder / name for name in shards], tokenizer)


def _write_shards(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    max_length: int,
    on_progress: Callable[[int], None],
) -> tuple[str, ...]:
    """Write the shards that are missing. Returns the names of all."""
    folder.mkdir(parents=True, exist_ok=True)
    record = _read_record(folder)
    if record.complete:
        return record.shards
    unread = islice(texts, record.num_texts, None)
    for num_texts, blocks in _split_texts(unread, tokenizer, max_length):
        name = f"{len(record.shards):05}.arrow"
        write_sealed_shard(pa.table({"input_ids": pa.array(blocks, type=TOKENS)}), folder / name)
        record = _Record(shards=(*record.shards, name), num_texts=record.num_texts + num_texts)
        write_json(folder / RECORD, asdict(record))
        on_progress(record.num_texts)
    if not record.shards:
        raise UserError("there is no text in it")
    write_json(folder / RECORD, asdict(replace(record, complete=True)))
    return record.shards


def _read_record(folder: Path) -> _Record:
    """The record of the shards; empty if there is none, or if it or a shard is damaged."""
    path = folder / RECORD
    if not path.exists():
        return _Record()
    try:
        record = TypeAdapter(_Record).validate_json(path.read_bytes())
    except (OSError, ValueError):
        report_damage(f"  {path} is damaged; the texts are read again")
        return _Record()
    return record if all(is_intact(folder / name) for name in record.shards) else _Record()


def _split_texts(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield (number of texts read, their blocks) per shard."""
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
