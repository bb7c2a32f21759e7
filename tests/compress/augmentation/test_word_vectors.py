"""Tests of loading word vectors, in every file format, and of searching them."""

import gzip
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from gensim.models import FastText, KeyedVectors

from compress.augmentation.word_vectors import load_vectors
from compress.common.errors import UserError
from tiny_bert import in_a_recipe, words_with_vectors


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return words_with_vectors(tmp_path_factory.mktemp("vectors") / "glove.txt")


@pytest.fixture(scope="module")
def expected(text):
    return {word: np.array(numbers, dtype=np.float32) for word, *numbers in map(str.split, text.open())}


def as_gzip(text, folder):
    with gzip.open(folder / "glove.txt.gz", "wb") as file:
        file.write(text.read_bytes())
    return folder / "glove.txt.gz"


def as_zip(text, folder):
    with zipfile.ZipFile(folder / "glove.zip", "w") as archive:
        archive.write(text, "glove.8d.txt")
    return folder / "glove.zip"


def as_a_member_of_a_zip(text, folder):
    with zipfile.ZipFile(folder / "glove.zip", "w") as archive:
        archive.writestr("glove.4d.txt", "fine 1 2 3 4\n")
        archive.write(text, "glove.8d.txt")
    return folder / "glove.zip" / "glove.8d.txt"


def as_word2vec(text, folder, *, binary):
    path = folder / ("w2v.bin" if binary else "w2v.vec")
    KeyedVectors.load_word2vec_format(str(text), no_header=True).save_word2vec_format(str(path), binary=binary)
    return path


def as_arrays(text, folder):
    words, vectors = zip(*((word, numbers) for word, *numbers in map(str.split, text.open())), strict=True)
    np.save(folder / "emb.npy", np.array(vectors, dtype=np.float32))
    pyarrow.parquet.write_table(pa.table({"index": list(words)}), folder / "index.parquet")
    return folder


FORMATS = {
    "GloVe text": lambda text, folder: shutil.copy(text, folder),
    ".gz": as_gzip,
    ".zip": as_zip,
    "a file of a .zip": as_a_member_of_a_zip,
    "word2vec text": lambda text, folder: as_word2vec(text, folder, binary=False),
    "word2vec binary": lambda text, folder: as_word2vec(text, folder, binary=True),
    "arrays": as_arrays,
}


@pytest.mark.parametrize("file_format", FORMATS)
def test_each_format_gives_the_same_vectors(file_format, text, expected, tmp_path):
    (tmp_path / "given").mkdir()
    vectors = load_vectors(str(FORMATS[file_format](text, tmp_path / "given")), cache=tmp_path / "cache")
    assert (vectors.num_words, vectors.dimension) == (len(expected), 8) and len(expected) == 23
    for word, numbers in expected.items():
        np.testing.assert_allclose(vectors.keyed[word], numbers, atol=1e-6)
    unpacked = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(unpacked) == (1 if "zip" in file_format else 0)


def test_a_damaged_unpacked_file_is_unpacked_again(text, expected, tmp_path, capsys):
    (tmp_path / "given").mkdir()
    name, cache = str(as_zip(text, tmp_path / "given")), tmp_path / "cache"
    load_vectors(name, cache=cache)
    (unpacked,) = [path for path in cache.rglob("*") if path.is_file()]
    content = unpacked.read_bytes()
    for damaged in (content[: content.index(b"\n", 300) + 1], bytes(len(content))):
        unpacked.write_bytes(damaged)
        assert load_vectors(name, cache=cache).num_words == len(expected)
        assert unpacked.read_bytes() == content
        assert f"{unpacked} is damaged (" in capsys.readouterr().err


def test_max_words_limits_the_words_that_are_read(text, tmp_path):
    for file_format in FORMATS:
        (tmp_path / file_format.strip(".")).mkdir()
        path = FORMATS[file_format](text, tmp_path / file_format.strip("."))
        vectors = load_vectors(str(path), cache=tmp_path / "cache", max_words=9)
        assert vectors.num_words == 9, file_format


@pytest.mark.parametrize("header", [True, False])
def test_words_with_spaces_are_read(header, tmp_path):
    lines = ["fine 0.5 -1 2e-3", ". . 0.25 1 1", "at name@domain.com 1 2 3"]
    path = tmp_path / "840B.txt"
    path.write_text("\n".join(["3 3", *lines] if header else lines) + "\n")
    vectors = load_vectors(str(path), cache=tmp_path)
    assert vectors.keyed.index_to_key == ["fine", ". .", "at name@domain.com"]
    np.testing.assert_allclose(vectors.keyed["at name@domain.com"], [1, 2, 3])
    assert vectors.nearest(["fine"], 5) == {"fine": ["fine"]}


def test_fasttext_has_vectors_for_unknown_words(tmp_path):
    texts = [["great", "film", "lovely", "story"], ["dull", "film", "awful", "plot"]] * 20
    model = FastText(texts, vector_size=8, min_count=1, epochs=1, bucket=500, seed=0, workers=1)
    from gensim.models.fasttext import save_facebook_model

    save_facebook_model(model, str(tmp_path / "fast.bin"))
    vectors = load_vectors(str(tmp_path / "fast.bin"), cache=tmp_path)
    assert vectors.dimension == 8 and vectors.num_words == 7
    nearest = vectors.nearest(["film", "filmish"], 3)
    assert set(nearest) == {"film", "filmish"} and nearest["film"][0] == "film" and not vectors.missing


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nothing.txt", None, "no such file or folder"),
        ("empty.txt", "", "no vectors|no word vectors|expected GloVe"),
        ("prose.txt", "this is no table\nof vectors at all\n", "expected a word and its numbers"),
        ("short.txt", "a b 1 2 3\ngood 1 2\n", "line 2: expected a word and 3 numbers"),
        ("broken.txt", "good 1 2\nbad 1 nan\n", "NaN or infinity"),
        ("broken.zip", "no archive", "not a zip file"),
        ("broken.gz", "no archive", "[Nn]ot a gzipped file"),
        ("broken.bin", "no vectors", "expected GloVe or word2vec text"),
        ("vectors.csv", "good,1,2", r"unknown suffix \.csv"),
    ],
)
def test_files_without_vectors_are_refused_in_one_line(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=expected) as error:
        load_vectors(str(tmp_path / name), cache=tmp_path / "cache")
    assert "\n" not in str(error.value) and in_a_recipe(error.value).startswith(f"augment.vectors: {tmp_path}")


def test_an_archive_of_several_files_is_refused_without_a_file_name(text, tmp_path):
    archive = as_a_member_of_a_zip(text, tmp_path).parent
    with pytest.raises(UserError, match=r"contains glove\.4d\.txt, glove\.8d\.txt; name one as glove\.zip/FILE"):
        load_vectors(str(archive), cache=tmp_path / "cache")
