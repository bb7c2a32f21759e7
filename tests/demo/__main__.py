"""Opens the page of `pocketbert demo` in headless Chromium, and compares it with predict.py.

    python -m tests.demo bundles/fp32 --texts texts.txt
    python -m tests.demo bundles/fp32 bundles/int8-static --texts dev.tsv --pictures pictures

Each bundle runs on a page of its own, and the first two on a page together. Writes results/serving/demo.json. The exit
code is 1 if a label differs, a token id differs, axe-core finds something, a request leaves this machine, or the page
does not work without its server. Needs Node.js, npm and Chromium; the environment is made under .interop/.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.common.files import write_json
from export.bundle.runtime import Classifier
from pocketbert.demo.libraries import LIBRARIES
from tests.demo.awkward_texts import AWKWARD
from tests.interop.environments import NodePackages, folder_of

ROOT = Path(__file__).resolve().parents[2]
BROWSER = NodePackages(name="demo-page", packages=("playwright-core@1.64.1", "axe-core@4.14.1"))
LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the page with each bundle. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", help="bundle folders")
    parser.add_argument("--texts", type=Path, help="a text per line; of a .tsv, the first column, without its header")
    parser.add_argument("--count", type=int, default=100, help="number of texts (default: 100)")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    parser.add_argument("--environments", type=Path, default=ROOT / ".interop", help="folder for the environment")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "serving" / "demo.json", help="file to write")
    options = parser.parse_args(arguments)
    environment = folder_of(BROWSER, options.environments)
    pages = [[folder] for folder in options.bundles] + ([options.bundles[:2]] if options.bundles[1:] else [])
    records = []
    for folders in pages:
        classifiers = [Classifier(folder) for folder in folders]
        rows = rows_for(classifiers[0], folders[0], options.texts, options.count)
        result = run_page(folders, rows, awkward_rows(classifiers[0]), environment, options.pictures)
        records.append(compared(classifiers, folders, rows, result))
        sys.stdout.write(json.dumps(records[-1], indent=2) + "\n")
    failures = [failure for record in records for failure in failures_of(record)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    versions = {library.name: library.version for library in LIBRARIES}
    write_json(options.output, {"versions": versions, "pages": records, "failures": failures})
    sys.stdout.write("".join(f"failed: {failure}\n" for failure in failures))
    return 1 if failures else 0


def rows_for(classifier: Classifier, folder: Path, texts: Path | None, count: int) -> list[list[str]]:
    """Rows of one text or two: lines of the file, or else the golden examples."""
    if texts is not None and not classifier.takes_pairs:
        lines = texts.read_text(encoding="utf-8").splitlines()
        lines = [line.split("\t")[0] for line in lines[1:]] if texts.suffix == ".tsv" else lines
        return [[line] for line in lines if line][:count]
    golden = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["golden"]
    rows = [[row["text"], row["pair"]] if classifier.takes_pairs else [row["text"]] for row in golden]
    return [row for row in rows if any(row)]


def awkward_rows(classifier: Classifier) -> list[list[str]]:
    """Texts on which tokenizers differ, and texts over the limit; each with another one if the bundle takes two."""
    texts = [*AWKWARD, *("long " * number for number in range(classifier.max_length - 5, classifier.max_length + 4))]
    if not classifier.takes_pairs:
        return [[text] for text in texts]
    return [[text, other] for text in texts for other in (texts[0], texts[1], texts[-1], texts[-6])]


def run_page(
    folders: list[Path], rows: list[list[str]], awkward: list[list[str]], environment: Path, pictures: Path | None
) -> dict[str, Any]:
    """What the driver reports of a page with these bundles."""
    node = shutil.which("node")
    assert node is not None, "needs Node.js"
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    job = {
        "command": [sys.executable, "-m", "pocketbert", "demo", "--port", "0", *map(str, folders)],
        "environment": str(environment.absolute()),
        "rows": rows,
        "awkward": awkward,
        "name": "-".join(folder.name for folder in folders),
        "pictures": pictures and str(pictures.absolute()),
    }
    driver = Path(__file__).with_name("driver.mjs")
    done = subprocess.run([node, str(driver)], input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if "error" in result:
        raise SystemExit(f"{job['name']}: {result['error']}")
    return result


def compared(
    classifiers: list[Classifier], folders: list[Path], rows: list[list[str]], result: dict[str, Any]
) -> dict[str, Any]:
    """The record of a page: counts, versions and the largest differences from predict.py."""
    return {
        "bundles": [
            compared_bundle(classifier, folder, rows, result, index)
            for index, (classifier, folder) in enumerate(zip(classifiers, folders, strict=True))
        ],
        "texts": len(rows),
        "chromium": result["chromium"],
        "axe_violations": [
            f"{each['width']} {each['colorScheme']}: {line}"
            for each in result["accessibility"]
            for line in each["violations"]
        ],
        "axe_runs": len(result["accessibility"]),
        "wider_than_the_window": result["isTooWide"],
        "console_messages": result["messages"],
        "requests_by_host": result["hosts"],
        "keyboard": result["keyboard"],
        "cross_origin_isolated": result["isIsolated"],
        "server_exit": result["serverExit"],
        "same_without_server": result["withoutServer"] == result["shown"][0],
        "same_after_reload_without_server": result["afterReload"] == result["shown"][0],
    }


def compared_bundle(
    classifier: Classifier, folder: Path, rows: list[list[str]], result: dict[str, Any], index: int
) -> dict[str, Any]:
    """The differences of one bundle on a page."""
    columns = [[row[column] for row in rows] for column in range(1 + classifier.takes_pairs)]
    answers = classifier.answers(classifier.logits(*columns))
    awkward = awkward_rows(classifier)
    encodings = classifier.encode(*([row[column] for row in awkward] for column in range(1 + classifier.takes_pairs)))
    outputs = result["outputs"][index]
    differences = [
        abs(one - other)
        for row, given in zip(answers, outputs, strict=True)
        for one, other in zip(row, given, strict=True)
    ]
    if classifier.task_type == "regression":
        expected = [f"{classifier.labels[0]}: {row[0]:.3f}" for row in outputs]
    else:
        expected = [classifier.labels[row.argmax()] for row in answers]
    return {
        "bundle": folder.name,
        "other_labels_on_page": sum(
            shown[index]["label"] != label for shown, label in zip(result["shown"], expected, strict=True)
        ),
        "largest_difference": float(max(differences)),
        "awkward_texts": len(awkward),
        "awkward_texts_with_other_ids": sum(
            [given["ids"], given["types"], given["isTruncated"]]
            != [encoding.ids, encoding.type_ids, classifier.is_truncated(encoding)]
            for given, encoding in zip(result["encodings"][index], encodings, strict=True)
        ),
        "golden": result["golden"][index],
        "problems": sorted({shown[index]["problem"] for shown in result["shown"]} - {""}),
    }


def failures_of(record: dict[str, Any]) -> list[str]:
    """What is wrong with a page, in a line each."""
    names = "-".join(bundle["bundle"] for bundle in record["bundles"])
    checks = {
        "axe-core finds something": not record["axe_violations"],
        "wider than the window": not record["wider_than_the_window"],
        "a control that Tab does not reach": {"first", "example", "clear"} <= set(record["keyboard"]["order"]),
        "messages in the console": not record["console_messages"],
        "requests to other hosts": set(record["requests_by_host"]) == {LOOPBACK},
        "the server did not end with 0": record["server_exit"] == 0,
        "does not work without the server": record["same_without_server"],
        "cannot be reloaded without the server": record["same_after_reload_without_server"],
        "other labels": not any(bundle["other_labels_on_page"] for bundle in record["bundles"]),
        "other token ids": not any(bundle["awkward_texts_with_other_ids"] for bundle in record["bundles"]),
        "golden examples": all(bundle["golden"][0] == "passed" for bundle in record["bundles"]),
        "an error on the page": not any(bundle["problems"] for bundle in record["bundles"]),
    }
    return [f"{names}: {name}" for name, is_good in checks.items() if not is_good]


if __name__ == "__main__":
    sys.exit(main())
