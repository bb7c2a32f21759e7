"""Text from outside in each output."""

import io
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.table import Table

from compress.common import console, escaping
from compress.common.progress import ProgressBar

HOSTILE = [
    "\x1b[31mred\x1b[0m", "\x9b31m", "\x07\b\r\x7f\x00", "\u202eabc\u2066", "\u2028", "\ufeff", "\U000e0041", "\udcff",
    "[red]x[/red]", "[/]", "[link=http://x]y[/link]", ":x:", "a\nb", "\\", "\\[/]", "<script>", "<!-- x", "&lt;", "`x`",
    "``` x", "# x", "- x", "3. x", "> x", "=== ", "---", "a|b", "a\\|b", "![x](http://y)", "[x]: y", "https://x", "$x$",
    "__init__", "*x*", "~~x~~", "{{ x }}", "'", '"', "x" * 500, "شكرا", "模型🚀",
]  # fmt: skip
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_console_prints_the_text_as_it_is_without_control_characters(text):
    printer = console.new_console(width=2000)
    printer.file = io.StringIO()
    printer.print(f"a {text} b")
    printer.print(console.notice("warning:", "yellow", text), soft_wrap=True)
    table = Table()
    table.add_row(text)
    printer.print(table)
    printer.print(console.of_markup(f"[dim]{text}[/dim]"))
    ProgressBar(text, printer).update(1, 2, text)
    printed = printer.file.getvalue()
    assert all(letter == "\n" or escaping.is_harmless(letter) for letter in printed)
    assert f"warning: {escaping.one_line(text)}" in printed


def test_a_progress_bar_on_a_terminal_shows_its_title_as_it_is():
    output = io.StringIO()
    with ProgressBar("[/] \x1b[2J", Console(file=output, force_terminal=True, width=200)) as bar:
        bar.update(2, 2, "[/] \x9b")
    assert "[/] \\x1b[2J" in output.getvalue() and "[/] \\x9b" in output.getvalue()
    assert "\x1b[2J" not in output.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_and_nothing_else(text):
    tokens = MARKDOWN.parse(f"{escaping.markdown(text)}\n")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} <= {"text"}
    assert "".join(child.content for child in tokens[1].children) == escaping.one_line(text).strip(" ")
    row = f"| a | b |\n|---|---|\n| {escaping.markdown(text, in_cell=True)} | end |\n"
    cells = [token for token in MARKDOWN.parse(row) if token.type == "inline"]
    assert len(cells) == 4 and cells[3].content == "end"
    assert "".join(child.content for child in cells[2].children) == escaping.one_line(text).strip(" ")
    block = MARKDOWN.parse(escaping.markdown_code(f"{text}\n```\n````\n# x"))
    assert [token.type for token in block] == ["fence"]


def test_markdown_keeps_our_commands_as_code():
    text = escaping.markdown("Use `pocketbert doctor`, or `--set bench.effort=thorough`, for `x`.")
    assert text == r"Use `pocketbert doctor`, or `--set bench.effort=thorough`, for \`x\`."


@pytest.mark.parametrize("text", HOSTILE)
def test_html_and_json_hold_the_text_without_control_characters(text):
    html = escaping.html(f"\x1b{text}")
    assert not set(html) & set("<>\"'") and all(letter == "\n" or escaping.is_harmless(letter) for letter in html)
    line = escaping.json_line({text: [text]})
    assert all(map(escaping.is_harmless, line)) and json.loads(line) == {text: [text]}


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_characters="\0"), max_size=20))
def test_a_shell_reads_a_word_as_it_was(text):
    text = text.encode("utf-8", "replace").decode() + "\udcff\x1b\n'"
    printed = subprocess.run(
        ["bash", "-c", f"printf %s {escaping.shell_word(text)}"], capture_output=True, check=True
    ).stdout
    assert printed == text.encode("utf-8", "surrogateescape")
    assert all(map(escaping.is_harmless, escaping.shell_word(text)))


def test_a_path_is_never_an_option():
    assert escaping.shell_path("-x y") == "'./-x y'" and escaping.shell_path("a/b") == "a/b"


def test_tracebacks_warnings_and_log_messages_have_no_control_characters():
    program = (
        "import logging, warnings; from compress.common.console import escape_other_output as escape; escape();"
        "warnings.warn('w\\x1b[31m'); logging.warning('l\\x1b[31m %s', '\\x9b'); print('\\udcff é');"
        "raise ValueError('v\\x1b[31m')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": "."}
    )
    assert finished.stdout == b"\\udcff \\xe9\n" and b"\x1b" not in finished.stderr
    for part in (rb"w\x1b[31m", rb"l\x1b[31m \x9b", rb"ValueError: v\x1b[31m"):
        assert part in finished.stderr
