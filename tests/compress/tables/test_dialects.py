"""Random tables, written as programs write them, come back with every cell unchanged, or are refused."""

import csv
import io
from collections.abc import Callable

import pandas as pd
import polars
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from compress.common.errors import UserError
from compress.tables.table import read_table

Rows = list[list[str]]
READABLE_SHARE = 0.85  # of tables, for a dialect that quotes

# Letters, delimiters, quotes, line ends, accents: what breaks readers. Outer spaces are no part of a cell.
CELLS = st.text(alphabet="abc ,;|\t\"'\n\\é€日", min_size=1, max_size=12).map(str.strip).filter(bool)
PLAIN = st.text(alphabet="abc .!?é€日", min_size=1, max_size=12).map(str.strip).filter(bool)
LABELS = st.sampled_from(["positive", "negative", "0", "1"])


def tables(cells: st.SearchStrategy[str]) -> st.SearchStrategy[Rows]:
    return st.lists(st.tuples(cells, LABELS).map(list), min_size=4, max_size=8)


def with_csv(rows: Rows, **options: object) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, **options).writerows([["text", "label"], *rows])
    return buffer.getvalue()


def pandas_csv(rows: Rows, **options: object) -> str:
    return pd.DataFrame(rows, columns=["text", "label"]).to_csv(index=False, **options)


def polars_csv(rows: Rows, **options: object) -> str:
    return polars.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(**options)


def spark_csv(rows: Rows, delimiter: str = ",") -> str:
    r"""Spark quotes cells with a delimiter, a quote or a line end, and marks inner quotes with a backslash."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '\\"') + '"' if any(mark in text for mark in f'{delimiter}"\n') else text

    return "".join(delimiter.join(map(cell, row)) + "\n" for row in [["text", "label"], *rows])


def excel_tabs(rows: Rows) -> str:
    """Excel's Unicode text: tabs; cells with a comma, a quote, a tab or a line end are quoted."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\t\n') else text

    return "".join("\t".join(map(cell, row)) + "\r\n" for row in [["text", "label"], *rows])


def by_hand(rows: Rows) -> str:
    """A space after each comma, and every text in quotes."""
    return "text, label\n" + "".join(f'"{text.replace(chr(34), chr(34) * 2)}", {label}\n' for text, label in rows)


def unquoted_tabs(rows: Rows) -> str:
    """GLUE's files: no quoting at all."""
    return "".join("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n" for row in rows)


DIALECTS: dict[str, tuple[str, str, Callable[[Rows], str]]] = {
    "Excel, comma": ("csv", "utf-8-sig", lambda rows: with_csv(rows)),
    "Excel, semicolon": ("csv", "utf-8-sig", lambda rows: with_csv(rows, delimiter=";")),
    "Excel, Unicode text": ("txt", "utf-16", excel_tabs),
    "Excel with its hint": ("csv", "utf-8", lambda rows: "sep=;\r\n" + with_csv(rows, delimiter=";")),
    "pandas": ("csv", "utf-8", pandas_csv),
    "pandas, tabs": ("tsv", "utf-8", lambda rows: pandas_csv(rows, sep="\t")),
    "pandas, all quoted": ("csv", "utf-8", lambda rows: pandas_csv(rows, quoting=csv.QUOTE_ALL)),
    "pandas, all quoted, tabs": ("tsv", "utf-8", lambda rows: pandas_csv(rows, sep="\t", quoting=csv.QUOTE_ALL)),
    "pandas, bars": ("csv", "utf-8", lambda rows: pandas_csv(rows, sep="|")),
    "polars": ("csv", "utf-8", polars_csv),
    "polars, semicolon, all quoted": (
        "csv",
        "utf-8",
        lambda rows: polars_csv(rows, separator=";", quote_style="always"),
    ),
    "R, tabs": ("tsv", "utf-8", lambda rows: with_csv(rows, delimiter="\t", quoting=csv.QUOTE_ALL)),
    "Spark": ("csv", "utf-8", spark_csv),
    "Spark, tabs": ("tsv", "utf-8", lambda rows: spark_csv(rows, "\t")),
    "by hand": ("csv", "utf-8", by_hand),
}


def cells_of(path, text: str, encoding: str) -> Rows:
    path.write_bytes(text.encode(encoding))
    frame = read_table(path, columns=["text", "label"]).frame
    return [[str(cell).strip() for cell in row] for row in frame[["text", "label"]].to_numpy().tolist()]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_cell_is_unchanged_or_the_file_is_refused(dialect, tmp_path):
    suffix, encoding, write = DIALECTS[dialect]
    outcomes = []

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(rows=tables(CELLS))
    @example(rows=[['He said "hi"', "0"], ["a, b; c", "1"], ["d", "0"], ["e", "1"]])
    def check(rows: Rows) -> None:
        try:
            cells = cells_of(tmp_path / f"t.{suffix}", write(rows), encoding)
        except UserError as error:
            assert "\n" not in str(error)
            outcomes.append(False)
            return
        outcomes.append(True)
        assert cells == [[cell.strip() for cell in row] for row in rows]

    check()
    share = sum(outcomes) / len(outcomes)
    assert len(outcomes) >= 50
    assert share >= (READABLE_SHARE if "Spark" not in dialect else 0.2), "refused without need"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_simple_texts_are_never_refused(dialect, tmp_path):
    suffix, encoding, write = DIALECTS[dialect]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(rows=tables(PLAIN))
    def check(rows: Rows) -> None:
        assert cells_of(tmp_path / f"t.{suffix}", write(rows), encoding) == rows

    check()


def test_unquoted_tabs_keep_their_quotes_or_are_refused(tmp_path):
    """Texts in GLUE's files hold quotes, also at both ends."""
    num_read = 0

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        rows=tables(
            st.text(alphabet='abc "', min_size=1, max_size=10).map(str.strip).filter(lambda text: text.strip('"'))
        )
    )
    def check(rows: Rows) -> None:
        nonlocal num_read
        try:
            rows = [["without quotes", "0"], *rows]  # a column that is quoted as a whole counts as quoted
            cells = cells_of(tmp_path / "t.tsv", unquoted_tabs([["text", "label"], *rows]), "utf-8")
        except UserError:
            return
        num_read += 1
        assert cells == rows

    check()
    assert num_read >= 20
