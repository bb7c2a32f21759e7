"""The documents of the repository, and the code blocks in them."""

import re
from pathlib import Path

import figures

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*figures.documents(ROOT), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")
}
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)\n(?P<text>.*?)^ *```$", flags=re.MULTILINE | re.DOTALL)


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document in a language."""
    return [block["text"] for block in BLOCK.finditer(DOCUMENTS[name]) if block["language"] == language]
