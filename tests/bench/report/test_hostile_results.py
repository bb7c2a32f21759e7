"""results.json from elsewhere: no text of it acts in the page, in Markdown or in a terminal."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from bench.report.page import ReportPage, page_of
from bench.report.render import html_of, markdown_of, write_reports
from bench.results.document import write_results
from example_results import RESULTS
from hostile_results import hostile_results
from pocketbert.cli import app

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def page() -> ReportPage:
    """The page of results with hostile text everywhere."""
    return page_of(hostile_results())


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements = set[tuple[str, ...]]()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, *sorted(name for name, _ in attributes)))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_element_and_no_attribute_of_the_page_comes_from_the_results(page):
    html = html_of(page)
    read = Elements(html)
    assert "<script>document.title='ran'</script>" in read.text, "the text itself is there"
    assert read.elements == Elements(html_of(page_of(RESULTS))).elements
    assert not {name for name, *_ in read.elements} & {"script", "img", "a"}
    assert CONTROLS.search(html) is None
    assert "default-src 'none'" in html


def test_markdown_holds_the_text_as_text(page):
    markdown = markdown_of(page)
    assert CONTROLS.search(markdown) is None
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    types = {token.type for token in (*tokens, *inline)}
    assert not types & {"html_block", "html_inline", "link_open", "image", "s_open", "em_open", "blockquote_open"}
    plain = MarkdownIt("commonmark").enable("table").parse(markdown_of(page_of(RESULTS)))
    for kind in ("heading_open", "table_open", "tr_open", "td_open", "fence"):
        assert [token.type for token in tokens].count(kind) == [token.type for token in plain].count(kind), kind


def test_the_terminal_gets_no_control_character(tmp_path, capsys):
    folder = tmp_path / "a\x1b[31m[red]\n"
    folder.mkdir()
    write_results(hostile_results(), folder)
    assert app.main(["compare", str(folder), str(folder)]) == 0
    printed = "".join(capsys.readouterr())
    assert "<script>" in printed and "[red]x[/red] [/]" in printed and CONTROLS.search(printed) is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "results.json").write_text('{"format_version": "\\u001b[31m\\n\\u009b"}')
    assert app.main(["report", str(tmp_path / "b")]) == 2
    printed = "".join(capsys.readouterr())
    assert printed.startswith("error: ") and printed.count("\n") == 1 and CONTROLS.search(printed) is None


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_script_runs_in_a_browser(tmp_path):
    write_reports(hostile_results(), tmp_path)
    path = tmp_path / "report.html"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--virtual-time-budget=1000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path("/"), check=True).stdout
    assert dom.rstrip().endswith("</html>") and "<title>ran" not in dom and "<script" not in dom
