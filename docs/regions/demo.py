"""The page of `pocketbert demo`, from results/serving/demo.json."""

import textwrap
from pathlib import Path
from typing import Any

from regions.cells import read_json, table


def _content(results: Path) -> Any:
    return read_json(results / "serving" / "demo.json")


def demo_table(results: Path) -> str:
    """One row per bundle that had a page of its own."""
    pages = [page for page in _content(results)["pages"] if len(page["bundles"]) == 1]
    rows = [
        (
            f"`{bundle['bundle']}`",
            str(page["texts"]),
            str(bundle["other_labels_on_page"]),
            _rounded(bundle["largest_difference"]),
            f"{bundle['awkward_texts_with_other_ids']} of {bundle['awkward_texts']}",
            "yes" if bundle["golden"][0] == "passed" else "no",
        )
        for page in pages
        for bundle in page["bundles"]
    ]
    return table(("bundle", "texts", "other labels", "difference", "other token ids", "golden examples"), rows)


def demo_checks(results: Path) -> str:
    """What else the script counts, in one sentence."""
    pages = _content(results)["pages"]
    other_hosts = sum(
        number for page in pages for host, number in page["requests_by_host"].items() if host != "127.0.0.1"
    )
    reloaded = sum(page["same_after_reload_without_server"] for page in pages)
    return textwrap.fill(
        f"{len(pages)} pages in Chromium {pages[0]['chromium']}: axe-core reports "
        f"{sum(len(page['axe_violations']) for page in pages)} findings in {sum(page['axe_runs'] for page in pages)} "
        f"runs, {other_hosts} requests left this machine, and "
        f"{reloaded} pages worked after a reload without server.",
        120,
    )


def _rounded(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


REGIONS = {"demo-table": demo_table, "demo-checks": demo_checks}
