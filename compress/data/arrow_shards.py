"""Rows on disk as Arrow files. They are memory-mapped for random access, so they may be larger than memory."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from compress.common.files import replacing
from compress.common.seals import seal_file
from compress.data.tokenization import TokenDataset, token_dataset

TOKENS = pa.list_(pa.int32())
RECORD_ROWS = 1000


def write_shard(table: pa.Table, path: Path) -> None:
    """Write an Arrow stream atomically. Record batches of 1,000 rows allow fast random access."""
    with (
        replacing(path) as partial,
        pa.OSFile(str(partial), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=RECORD_ROWS)


def write_sealed_shard(table: pa.Table, path: Path) -> None:
    """Write a shard for `seals.is_intact` to check, because a truncated Arrow stream may still be readable."""
    write_shard(table, path)
    seal_file(path)


def read_shards(paths: Sequence[Path]) -> Dataset:
    """The memory-mapped rows of all files, in the order of the paths."""
    return concatenate_datasets([Dataset.from_file(str(path)) for path in paths])


def read_metadata(path: Path) -> dict[bytes, bytes]:
    """The metadata of a shard's schema."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema.metadata or {}


def token_dataset_of_shards(paths: Sequence[Path], tokenizer: PreTrainedTokenizerBase) -> TokenDataset:
    """Read token rows from shards."""
    rows = read_shards(paths)
    lengths = pyarrow.compute.list_value_length(rows.data.column("input_ids")).to_numpy()
    return token_dataset(rows, lengths, tokenizer)
