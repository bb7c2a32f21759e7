"""The documentation site: it builds without a warning, offline, and its pages load nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pocketbert
from documents import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A broken link, a page outside the menu and a faulty docstring are warnings, which fail."""
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "--quiet", "--fail-on-warning", "-c", "docs", "-d", str(folder / "doctrees"), "."]
    done = subprocess.run([sys.executable, *command, str(folder / "html")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_document_is_a_page(site):
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.glob("docs/*.html")}
    assert pages == {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}
    assert (site / "README.html").is_file() and (site / "results" / "README.html").is_file()


def test_the_reference_has_every_name_of_the_python_interface(site):
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    assert all(f'id="pocketbert.{name}"' in page for name in pocketbert.__all__)


def test_the_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]*? (?:src|href)=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
        assert not [target for target in loaded if re.match(r"(?:https?:)?//", target)], page
    assert (site / "searchindex.js").stat().st_size > 10_000


def test_links_between_pages_lead_to_a_page_and_a_heading(site):
    """Those with an anchor, as the browser follows them."""
    num_links = 0
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"<a class=\"reference internal\" href=\"([^\"]+)\"", text):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.is_file(), (page, target)
            if anchor and linked.suffix == ".html":
                assert f'id="{anchor}"' in linked.read_text(encoding="utf-8"), (page, target)
            num_links += 1
    assert num_links > 300
