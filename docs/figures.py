"""Writes the figures of the documents from the JSON files under results/, and the recipe's keys from their types.

A document marks each generated part as a region:

    <!-- figures: quickstart-table -->
    ...
    <!-- end -->

    python docs/figures.py            # write every region again
    python docs/figures.py --check    # print the regions that differ, and exit with code 1 if any do
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from regions import (
    ablation,
    attacks,
    augmentation,
    auto,
    benchmark,
    demo,
    distillation,
    edge,
    guide,
    interop,
    mpnet,
    original,
    peers,
    quickstart,
    recipe_keys,
    serving,
    students,
    tasks,
    training,
    triton,
    variants,
)

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "results/README.md", "docs/*.md")
REGION = re.compile(r"(<!-- figures: (?P<name>[a-z0-9-]+) -->)(?P<text>.*?)(<!-- end -->)", flags=re.DOTALL)
REGIONS: Mapping[str, Callable[[Path], str]] = {
    **quickstart.REGIONS,
    **auto.REGIONS,
    **variants.REGIONS,
    **distillation.REGIONS,
    **augmentation.REGIONS,
    **ablation.REGIONS,
    **original.REGIONS,
    **benchmark.REGIONS,
    **peers.REGIONS,
    **interop.REGIONS,
    **edge.REGIONS,
    **guide.REGIONS,
    **demo.REGIONS,
    **students.REGIONS,
    **tasks.REGIONS,
    **mpnet.REGIONS,
    **serving.REGIONS,
    **training.REGIONS,
    **recipe_keys.REGIONS,
    **attacks.REGIONS,
    **triton.REGIONS,
}


def render(results: Path) -> dict[str, str]:
    """The text of every region by name, from the JSON files in the folder `results`."""
    return {name: text_of(results) for name, text_of in REGIONS.items()}


def documents(root: Path) -> list[Path]:
    """The documents that hold regions, in a checkout at `root`."""
    return [path for pattern in DOCUMENTS for path in sorted(root.glob(pattern))]


def rewrite(document: str, texts: Mapping[str, str]) -> str:
    """The document with the text of every region replaced. Raises ValueError for a region that nothing generates."""

    def replaced(region: re.Match[str]) -> str:
        if region["name"] not in texts:
            raise ValueError(f"unknown region {region['name']!r}; expected one of {', '.join(sorted(texts))}")
        return f"{region[1]}{_laid_out(region, texts)}{region[4]}"

    return REGION.sub(replaced, document)


def differences(document: str, texts: Mapping[str, str]) -> Iterator[str]:
    """The regions of a document whose text is not what is generated: each name with the first line that differs."""
    for region in REGION.finditer(document):
        expected, actual = _laid_out(region, texts).splitlines(), region["text"].splitlines()
        if expected != actual:
            lines = [pair for pair in zip(expected, actual, strict=False) if pair[0] != pair[1]]
            first = f"expected {lines[0][0]!r}, got {lines[0][1]!r}" if lines else "lines are missing, or too many"
            yield f"{region['name']}: {first}"


def _laid_out(region: re.Match[str], texts: Mapping[str, str]) -> str:
    """A region's new text: on lines of its own where the old one was, else within the line."""
    text = texts[region["name"]]
    return f"\n{text}\n" if region["text"].startswith("\n") else text


def main(arguments: list[str] | None = None) -> int:
    """Write or check the documents; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with code 1 where a region differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    texts = render(options.root / "results")
    num_outdated = 0
    for path in documents(options.root):
        before = path.read_text(encoding="utf-8")
        for difference in differences(before, texts) if options.check else ():
            num_outdated += 1
            sys.stdout.write(f"{path.relative_to(options.root)}: {difference}\n")
        if not options.check:
            path.write_text(rewrite(before, texts), encoding="utf-8")
    if num_outdated:
        sys.stdout.write("run `make docs` to write the documents again\n")
    return 1 if num_outdated else 0


if __name__ == "__main__":
    sys.exit(main())
