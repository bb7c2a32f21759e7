"""Settings of the documentation site, which Sphinx builds from the Markdown files. See `make docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pocketbert  # noqa: E402

project = "PocketBERT"
author = "The PocketBERT authors"
copyright = author
version = release = pocketbert.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "results/README.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
myst_heading_anchors = 4

default_role = "code"  # docstrings mark code with single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"PocketBERT {version}"
html_additional_pages = {"index": "redirect.html"}
html_static_path = ["static"]
html_css_files = ["tables.css"]
templates_path = ["templates"]
