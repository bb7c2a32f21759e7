"""The files of the page: no markup from text, nothing inline, nothing from elsewhere."""

import re

from pocketbert.demo.resources import TYPES, page_files

FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment"
)
ADDRESS = re.compile(r"https?://(?!www\.w3\.org/2000/svg)")  # the name of SVG is no address


def test_no_text_becomes_markup_and_nothing_comes_from_elsewhere():
    names = {path.name for path in page_files()}
    assert {"index.html", "page.css", "app.js", "worker.js", "service-worker.js"} <= names
    for path in page_files():
        content = path.read_text(encoding="utf-8")
        assert path.suffix in TYPES
        assert not FORBIDDEN.search(content) and not ADDRESS.search(content), path.name


def test_the_document_has_no_inline_script_or_style():
    (document,) = (path.read_text(encoding="utf-8") for path in page_files() if path.name == "index.html")
    assert re.findall(r"<script[^>]*>(.*?)</script>", document, re.DOTALL) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=", document)


def test_what_the_files_name_exists():
    contents = {path.name: path.read_text(encoding="utf-8") for path in page_files()}
    named = {
        name
        for content in contents.values()
        for name in re.findall(r"(?:from|Worker\(|register\(|src=|href=)\s*['\"](?:\./)?([\w-]+\.\w+)['\"]", content)
    }
    assert len(named) >= 9 and named <= set(contents), named - set(contents)


def test_elements_that_the_scripts_ask_for_exist():
    contents = {path.name: path.read_text(encoding="utf-8") for path in page_files()}
    ids = set(re.findall(r'\sid="([\w-]+)"', contents["index.html"]))
    classes = {name for names in re.findall(r'class="([\w -]+)"', contents["index.html"]) for name in names.split()}
    asked = set(re.findall(r"element\('([\w-]+)'\)", contents["app.js"]))
    selected = set(re.findall(r"this\.find\('\.([\w-]+)'\)", contents["card.js"]))
    assert len(asked) >= 10 and asked <= ids, asked - ids
    assert len(selected) >= 10 and selected <= classes, selected - classes
