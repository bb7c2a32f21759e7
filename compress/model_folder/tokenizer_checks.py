"""Checks the files of a tokenizer before it is loaded, and its tokens for a few texts after that. Loads no torch."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.common.errors import UserError, library_errors
from compress.model_folder.contents import problem_of_file, problem_of_size, read_json_object

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

JSON_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
OTHER_FILES = ("tokenizer.json", "vocab.txt", "merges.txt")
MAX_TOKENIZER_BYTES = 100_000_000  # five times the largest multilingual tokenizers
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
NO_TOKENIZER = "the model comes without a tokenizer; expected tokenizer.json or vocab.txt"
OF_THE_MODEL = "replace the tokenizer by the one that the model was trained with"
PROBE_LENGTH = 16
# plain words, no text, signs that are in few vocabularies, and a text that is cut
PROBE_TEXTS = ("a word", "", "Ünï \u6f22\u5b57 \U0001f600 \ufdfa qxzj", "word " * 40)
COMPARED_TEXTS = (*PROBE_TEXTS, "It's A co-op: $5.00, no?", "two  spaces\tand\na line")
FOLLOW_PADDING = ("roberta", "xlm-roberta", "camembert")  # a position depends on which tokens are padding
WITHOUT_TYPES = ("distilbert", "modernbert")  # no embedding of token types


def check_tokenizer_files(folder: Path) -> None:
    """Raise UserError if a file of the tokenizer is missing or damaged, or names code that would have to be run."""
    if not any(path for pattern in VOCABULARIES for path in folder.glob(pattern)):
        raise UserError(NO_TOKENIZER)
    vocabularies = [path.name for path in folder.glob("*.model")]
    for name in (*JSON_FILES, *OTHER_FILES, *vocabularies):
        path = folder / name
        if not path.is_file():
            continue
        problem = problem_of_file(path) or problem_of_size(path, MAX_TOKENIZER_BYTES)
        if problem is not None:
            raise UserError(problem)
        content = read_json_object(path) if name in JSON_FILES else {}
        if name == "tokenizer_config.json":
            _check_config(content)


def _check_config(config: Mapping[str, Any]) -> None:
    if config.get("auto_map"):
        raise UserError(
            "tokenizer_config.json names code of its own (auto_map), which is not run; if tokenizer.json holds the "
            "whole tokenizer, remove auto_map"
        )
    for key in ("tokenizer_class", "padding_side", "truncation_side"):
        if not isinstance(config.get(key), str | None):
            raise UserError(f"tokenizer_config.json: {key} is {config[key]!r}; expected text")
    inputs = config.get("model_input_names")
    if inputs is not None and not (isinstance(inputs, list) and "input_ids" in inputs):
        raise UserError(f"tokenizer_config.json: model_input_names is {inputs!r}; expected a list with input_ids")
    length = config.get("model_max_length")
    is_number = isinstance(length, int | float) and not isinstance(length, bool)
    if length is not None and not (is_number and length >= 1 and not math.isnan(length)):
        raise UserError(f"tokenizer_config.json: model_max_length is {length!r}; expected a number of tokens")


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", config: Mapping[str, Any]) -> None:
    """Raise UserError if a tokenizer cannot be used with a model. `config`: the content of its config.json."""
    vocabulary = tokenizer.get_vocab()
    if not len(vocabulary) > len(tokenizer.all_special_tokens):
        raise UserError(NO_TOKENIZER)
    num_rows = config.get("vocab_size")
    if num_rows is not None and len(tokenizer) > num_rows:
        raise UserError(
            f"its tokenizer has {len(tokenizer)} tokens, but its embedding has {num_rows} rows; {OF_THE_MODEL}"
        )
    last = max(vocabulary, key=vocabulary.__getitem__)
    if num_rows is not None and vocabulary[last] >= num_rows:
        raise UserError(
            f"its tokenizer gives the token {last!r} the id {vocabulary[last]}, but its embedding has {num_rows} rows; "
            f"{OF_THE_MODEL}"
        )
    if not tokenizer.is_fast:
        raise UserError(f"{type(tokenizer).__name__} cannot be saved as tokenizer.json, which a bundle needs")
    padding = tokenizer.pad_token_id
    if padding is None:
        raise UserError(
            "its tokenizer has no pad token, so texts of different lengths cannot share a batch; name one as pad_token "
            "in tokenizer_config.json"
        )
    expected = config.get("pad_token_id", 1)  # the default of these architectures
    if config.get("model_type") in FOLLOW_PADDING and padding != expected:
        raise UserError(
            f"its tokenizer pads with the id {padding} ({tokenizer.pad_token}), but config.json has the pad_token_id "
            f"{expected}, on which positions depend; {OF_THE_MODEL}"
        )


def check_against_file(tokenizer: "PreTrainedTokenizerBase", file: Path) -> None:
    """Raise UserError if a WordPiece tokenizer ignores parts of its tokenizer.json and splits texts differently.

    Version 5 of transformers builds some tokenizers from the vocabulary alone; version 4 read the whole file. Both take
    the options of a BertNormalizer, such as do_lower_case, from tokenizer_config.json.
    """
    from tokenizers import Tokenizer, models, normalizers

    with library_errors("its tokenizer.json could not be loaded", advice=OF_THE_MODEL):
        own = Tokenizer.from_file(str(file))
        loaded = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if not isinstance(own.model, models.WordPiece):
        return
    if isinstance(own.normalizer, normalizers.BertNormalizer) and loaded.normalizer is not None:
        own.normalizer = loaded.normalizer
    for each in (own, loaded):
        each.no_truncation()
        each.no_padding()
    with library_errors("its tokenizer cannot encode a text", advice=OF_THE_MODEL):
        texts = [text for text in COMPARED_TEXTS if own.encode(text).ids != loaded.encode(text).ids]
    if texts:
        raise UserError(
            f"its tokenizer.json splits the text {texts[0]!r} differently from {type(tokenizer).__name__} in the "
            "installed version of transformers; if the file is right, set tokenizer_class to PreTrainedTokenizerFast "
            "in tokenizer_config.json; if not, remove tokenizer.json and keep vocab.txt"
        )


def probe_tokenizer(tokenizer: "PreTrainedTokenizerBase", config: Mapping[str, Any], *, takes_pairs: bool) -> None:
    """Encode a few texts, or pairs. Raises UserError if that fails or the model cannot take the result.

    `config`: the content of the model's config.json.
    """
    texts = list(PROBE_TEXTS)
    with library_errors("its tokenizer cannot encode a text", advice=OF_THE_MODEL):
        rows = tokenizer(
            texts, texts[::-1] if takes_pairs else None, truncation=True, max_length=PROBE_LENGTH, padding=False
        )
    if not all(rows["input_ids"]):
        raise UserError(f"its tokenizer adds no special tokens, so that an empty text has no token; {OF_THE_MODEL}")
    if not takes_pairs or "token_type_ids" not in rows:
        return
    num_types, most = config.get("type_vocab_size", 2), max(map(max, rows["token_type_ids"]))
    if config.get("model_type") in WITHOUT_TYPES:
        raise UserError(
            "its tokenizer gives token types to pairs, but the model takes none; remove token_type_ids from "
            "model_input_names in tokenizer_config.json"
        )
    if num_types and most >= num_types:
        raise UserError(
            f"its tokenizer gives the second text of a pair the token type {most}, but the model has {num_types} of "
            f"them; {OF_THE_MODEL}"
        )
