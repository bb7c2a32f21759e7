"""Word vectors. The nearest words are candidates for words that are several tokens to the masked language model."""

import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import BadGzipFile
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from compress.augmentation.masked_lm import sort_by_score
from compress.augmentation.words import is_whole_word
from compress.common.errors import UserError, first_line
from compress.common.files import replacing, sha256
from compress.common.seals import damage_of_file, report_damage
from compress.models.sources import locate
from compress.reading.regular_files import problem_of

FASTTEXT_MAGIC = 793712314
WORDS_AT_ONCE = 64  # compared with the whole vocabulary in one matrix product
TEXT_SUFFIXES = (".txt", ".vec", ".gz")
EXPECTED = (
    "expected GloVe or word2vec text (.txt, .vec, .gz, .zip), word2vec or fastText binary (.bin), or package:NAME/DIR"
)


@dataclass(kw_only=True)
class Vectors:
    """`keyed`: gensim's KeyedVectors, most frequent words first. `missing`: requested words that have no vector."""

    name: str
    keyed: Any
    missing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rows = [row for row, word in enumerate(self.keyed.index_to_key) if is_whole_word(word)]
        self._candidate_rows = np.array(rows, dtype=np.int64)  # rows of the words that may be candidates
        self._table = torch.from_numpy(
            np.asarray(self.keyed.vectors)[self._candidate_rows].astype(np.float32, copy=False)
        )
        self._table /= self._table.norm(dim=1, keepdim=True).clamp(min=1e-12)

    @property
    def num_words(self) -> int:
        """The number of words that have a vector."""
        return len(self.keyed.index_to_key)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.keyed.vector_size)

    def nearest(self, words: Sequence[str], count: int) -> dict[str, list[str]]:
        """For each lower-case word, the `count` words of highest cosine, best first. The word itself may be included.

        Words without a vector are left out and added to `missing`. The last bits of a cosine depend on the other words
        of the call, so pass all words of a data set at once.
        """
        keys = {word: self._key(word) for word in words}
        known = sorted(word for word, key in keys.items() if key is not None)
        self.missing |= keys.keys() - known
        nearest_words: dict[str, list[str]] = {}
        count = min(count, len(self._candidate_rows))
        for start in range(0, len(known), WORDS_AT_ONCE):
            chunk = known[start : start + WORDS_AT_ONCE]
            vectors = np.stack([self.keyed.get_vector(keys[word]) for word in chunk]).astype(np.float32)
            best = (torch.nn.functional.normalize(torch.from_numpy(vectors)) @ self._table.T).topk(count)
            rows = self._candidate_rows[sort_by_score(best.values.numpy(), best.indices.numpy())]
            nearest_words |= {
                word: [self.keyed.index_to_key[row] for row in nearest]
                for word, nearest in zip(chunk, rows.tolist(), strict=True)
            }
        return nearest_words

    def _key(self, word: str) -> str | None:
        """A form of the word that has a vector, if any. fastText makes vectors for all words from character n-grams."""
        return next((form for form in (word, word.capitalize()) if form in self.keyed), None)


def load_vectors(name: str, *, cache: Path, max_words: int | None = None) -> Vectors:
    """Read word vectors. Raises UserError.

    `name` is one of:
    - GloVe or word2vec text (.txt, .vec or .gz)
    - a .zip with one such file, or ARCHIVE.zip/FILE
    - a word2vec or fastText .bin
    - a folder, or `package:NAME/DIR`, with vectors in one .npy and words in the column `index` of one .parquet

    `cache`: the folder to unpack a .zip into. `max_words`: read only the first words, which are the most frequent. A
    fastText .bin is always read whole.
    """
    path = Path(locate(name)).expanduser()
    try:
        archive = re.fullmatch(r"(.*\.zip)(?:/(.+))?", str(path))
        file = Path(archive[1] if archive else path)
        if not file.is_dir() and (problem := problem_of(file)) is not None:
            raise ValueError(problem.replace("no such file", "no such file or folder"))
        if path.is_dir():
            keyed = _from_arrays(path, max_words)
        elif archive:
            keyed = _from_text(_unpack(Path(archive[1]), archive[2], cache), max_words)
        elif path.suffix == ".bin":
            keyed = _from_binary(path, max_words)
        elif path.suffix in TEXT_SUFFIXES:
            keyed = _from_text(path, max_words)
        else:
            raise ValueError(f"unknown suffix {path.suffix or '(none)'}")
    except (
        ValueError,
        KeyError,
        EOFError,
        TypeError,
        struct.error,
        zlib.error,
        RuntimeError,
        BadGzipFile,
        BadZipFile,
    ) as error:
        raise UserError(
            f"{name}: no word vectors could be read ({first_line(error)}); {EXPECTED}", option="vectors"
        ) from error
    if not len(keyed.index_to_key) or not np.isfinite(keyed.vectors).all():
        raise UserError(f"{name}: got no vectors, or vectors with NaN or infinity; {EXPECTED}", option="vectors")
    return Vectors(name=name, keyed=keyed)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Raise ValueError for every exception of the body, which holds only calls of a library."""
    try:
        yield
    except (ValueError, MemoryError, OSError):
        raise
    except Exception as error:
        raise ValueError(first_line(error)) from error


def _from_arrays(folder: Path, max_words: int | None) -> Any:
    import pyarrow.parquet

    arrays, tables = sorted(folder.glob("*.npy")), sorted(folder.glob("*.parquet"))
    if len(arrays) != 1 or len(tables) != 1:
        raise ValueError(f"got {len(arrays)} .npy and {len(tables)} .parquet files, expected one of each")
    with _as_value_error():
        words = pyarrow.parquet.read_table(tables[0], columns=["index"])["index"].to_pylist()
        vectors = np.load(arrays[0], mmap_mode="r")
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(f"got {len(words)} words, but vectors of shape {vectors.shape}")
    return _keyed(words[:max_words], np.asarray(vectors[:max_words], dtype=np.float32))


def _from_binary(path: Path, max_words: int | None) -> Any:
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors

    with path.open("rb") as file:
        (magic,) = struct.unpack("<i", file.read(4))
    with _as_value_error():
        if magic == FASTTEXT_MAGIC:
            return load_facebook_vectors(str(path))
        return KeyedVectors.load_word2vec_format(str(path), binary=True, limit=max_words)


def _from_text(path: Path, max_words: int | None) -> Any:
    from gensim.models import KeyedVectors

    first = _first_line(path)
    header = re.fullmatch(r"\d+ \d+", first.strip()) is not None
    try:
        with _as_value_error():
            return KeyedVectors.load_word2vec_format(str(path), no_header=not header, limit=max_words)
    except ValueError:  # a word contains a space, as some in GloVe 840B do, or the file has no vectors
        return _split_from_the_right(path, header, max_words)


def _split_from_the_right(path: Path, header: bool, max_words: int | None) -> Any:
    from smart_open import open as open_text

    words: list[str] = []
    vectors: list[np.ndarray] = []
    dimension = None
    with open_text(str(path), encoding="utf-8") as lines:
        if header:
            dimension = int(next(lines).split()[1])
        for number, line in enumerate(lines, start=1 + header):
            if max_words is not None and len(words) >= max_words:
                break
            if dimension is None:
                dimension = _trailing_numbers(line)
            word, *values = line.rstrip().rsplit(" ", dimension)
            try:
                vectors.append(np.array(values, dtype=np.float32))
                if len(values) != dimension or not word:
                    raise ValueError(f"{len(values)} numbers")
            except ValueError as error:
                raise ValueError(f"line {number}: expected a word and {dimension} numbers, got {error}") from error
            words.append(word)
    return _keyed(words, np.stack(vectors) if vectors else np.zeros((0, 1), dtype=np.float32))


def _trailing_numbers(line: str) -> int:
    fields = line.split()
    numbers = 0
    while numbers < len(fields) - 1 and re.fullmatch(r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?", fields[-1 - numbers]):
        numbers += 1
    if not numbers:
        raise ValueError("line 1: expected a word and its numbers")
    return numbers


def _first_line(path: Path) -> str:
    from smart_open import open as open_text

    with open_text(str(path), encoding="utf-8") as lines:
        return next(iter(lines), "")


def _keyed(words: list[str], vectors: np.ndarray) -> Any:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(vector_size=vectors.shape[1])
    keyed.add_vectors(words, vectors)
    return keyed


def _unpack(path: Path, member: str | None, cache: Path) -> Path:
    """Unpack a text file of a .zip into the cache. Its name starts with the archive's digest."""
    with zipfile.ZipFile(path) as archive:
        texts = [entry for entry in archive.namelist() if entry.endswith((".txt", ".vec"))]
        chosen = [entry for entry in texts if member in (None, entry)]
        if len(chosen) != 1:
            raise ValueError(f"the archive contains {', '.join(texts) or 'no text file'}; name one as {path.name}/FILE")
        target = cache / "vectors" / f"{sha256(path)[:16]}-{Path(chosen[0]).name}"
        entry = archive.getinfo(chosen[0])
        damage = damage_of_file(target, {"bytes": entry.file_size, "crc32": entry.CRC})
        if damage is not None:
            if target.exists():
                report_damage(f"{target} is damaged ({damage}); it is unpacked again")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, replacing(target) as partial, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    return target
