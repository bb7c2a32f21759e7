"""Every figure in the documents is generated from the JSON under results/, and none is written by hand."""

import json
import re
import shutil
from pathlib import Path

import pytest

import figures
from regions import quickstart

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in figures.documents(ROOT)}
REGIONS = [(name, region["name"]) for name, text in DOCUMENTS.items() for region in figures.REGION.finditer(text)]

AUTO = sorted((RESULTS / "auto").glob("*.json"))
ONE_FIGURE_OF = {  # of each JSON file: the keys that lead to one figure that a document shows
    "ablation/sst2.json": ("tables", 0, "variants", 0, "test", "value"),
    "attack/attacks.json": ("rows", 0, "tried"),
    "augmentation/augmentation.json": ("rows", 0, "ms_per_word"),
    "augmentation/effect.json": ("rte-aug-1", "prediction", "dev"),
    "auto/grid.json": ("points", "cola", 2, "dev"),
    **{f"auto/{path.stem}.json": ("scores", "teacher", 0) for path in AUTO if path.stem != "grid"},
    "bench/roofline.json": ("ceilings", "gigabytes_per_s"),
    "bench/load.json": ("stages", "bench", "rows", 0, "load", "closed"),
    "bench/openvino-processes.json": ("1x16", 0, "ratio", "value"),
    "bench/peers.json": ("stages", "bench", "rows", 0, "latency", "median_ms"),
    "bench/shapes.json": ("shapes", 0, "parameters"),
    "bench/threads.json": ("stages", "bench", "rows", 0, "threads", "by_count", "1", "texts_per_s"),
    "bench/self-check-minilm.json": ("num_detected",),
    "bench/self-check-one-process.json": ("num_aa_missed",),
    "bench/self-check.json": ("num_aa_missed",),
    "distillation/cola-0.json": ("scores", "teacher", "dev"),
    "distillation/rte-0.json": ("scores", "teacher", "dev"),
    "distillation/sst2-0.json": ("scores", "teacher", "dev"),
    "distillation/sst2-1.json": ("scores", "teacher", "dev"),
    "distillation/sst2-2.json": ("scores", "teacher", "dev"),
    "distillation/sst2-v8000-slow.json": ("scores", "after prediction", "dev"),
    "distillation/sst2-v8000.json": ("scores", "after prediction", "dev"),
    "distillation/stsb-0.json": ("scores", "teacher", "dev"),
    "export/cold_start.json": ("rows", 0, "memory_mib"),
    "export/portable.json": ("pairs", 0, "latency", "1x16", "ratio"),
    "export/reduce_range.json": ("comparisons", 0, "reduced"),
    "export/runtime_versions.json": ("outcomes", "int4-weight", "1.19.2", "changed_labels_in_batches"),
    "export/variants.json": ("browser", 1, "times"),
    "general/curves.json": ("lines", 0, "first"),
    "interop/interop.json": ("cells", 0, "difference"),
    "mpnet/curves.json": ("lines", 0, "second"),
    "mpnet/mpnet.json": ("teacher", "test"),
    "original/original.json": ("rows", 0, "scores", "dev"),
    "quickstart/results.json": ("stages", "bench", "rows", 0, "latency", "median_ms"),
    "serving/clients.json": ("clients", "tritonclient, gRPC", "answers"),
    "serving/overload.json": ("memory_mib", 1),
    "serving/rates.json": ("highest_rate", "pocketbert serve", 0),
    "serving/edge.json": ("devices", 0, "peak_rss_mb"),
    "serving/demo.json": ("pages", 0, "texts"),
    "serving/triton.json": ("parts", "cpu", "fp32", "http", "alone", "changed_labels"),
    "students/quality.json": ("rows", 0, "accuracy"),
    "students/speed-vnni.json": ("median_ms", "fast3", "1x16"),
    "students/speed.json": ("median_ms", "fast3", "1x16"),
    "tasks/cola-variants.json": ("tables", 0, "variants", 0, "test", "value"),
    "tasks/tasks.json": ("rows", 0, "test", "value"),
    "tasks/rte-variants.json": ("tables", 0, "variants", 0, "test", "value"),
    "training/training.json": ("stages", "prediction", "rows", 0, "examples_per_s"),
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return figures.render(RESULTS)


def test_the_documents_are_as_generated(capsys):
    assert figures.main(["--check"]) == 0, capsys.readouterr().out


def test_every_region_is_in_a_document():
    names = [name for _, name in REGIONS]
    assert set(names) == set(figures.REGIONS) and len(names) > 40
    assert all(text.count("<!-- figures:") == text.count("<!-- end -->") for text in DOCUMENTS.values())


@pytest.mark.parametrize(("document", "name"), REGIONS)
def test_another_digit_is_noticed(document, name, texts):
    """In every region of a copy: the last digit, which is a figure's. The check names the region."""
    text = DOCUMENTS[document]
    region = next(region for region in figures.REGION.finditer(text) if region["name"] == name)
    digit = [*re.finditer(r"\d", region["text"])][-1]
    start = region.start("text") + digit.start()
    changed = text[:start] + str((int(digit[0]) + 1) % 10) + text[start + 1 :]
    differences = list(figures.differences(changed, texts))
    assert len(differences) == 1 and differences[0].startswith(f"{name}: ")
    assert figures.rewrite(changed, texts) == text


@pytest.mark.parametrize("name", ONE_FIGURE_OF)
def test_another_figure_in_a_json_file_is_noticed(name, tmp_path, capsys):
    shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.gz", "*.svg"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    path = tmp_path / "results" / name
    content = json.loads(path.read_text(encoding="utf-8"))
    *outer, last = ONE_FIGURE_OF[name]
    record = content
    for key in outer:
        record = record[key]
    record[last] += 1
    path.write_text(json.dumps(content), encoding="utf-8")
    assert figures.main(["--check", "--root", str(tmp_path)]) == 1
    assert "run `make docs`" in capsys.readouterr().out


def test_a_figure_of_every_json_file_is_changed_above():
    """All but the students of ablations, which are in the tables of their ablation."""
    paths = {path.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("*.json") if path.parent.name != "rows"}
    assert set(ONE_FIGURE_OF) == paths


def test_a_region_that_nothing_generates_is_an_error():
    with pytest.raises(ValueError, match="unknown region 'no-such'"):
        figures.rewrite("<!-- figures: no-such -->1<!-- end -->", {"known": "2"})


@pytest.mark.parametrize(
    ("effort", "calls", "sentences"),
    [
        (None, 360, ["version 0.3, which trained longer, made this table in ", " threads per model."]),
        ("thorough", 360, ["`make figures` made this table in ", "runs the same recipe with a quick benchmark."]),
        ("quick", 60, ["`make quickstart` made this table in ", "quick benchmark took", "(median of 60 calls)."]),
    ],
)
def test_the_facts_name_the_command_and_the_few_calls_of_a_quick_benchmark(effort, calls, sentences, tmp_path):
    content = json.loads((RESULTS / "quickstart" / "results.json").read_text(encoding="utf-8"))
    bench = content["stages"]["bench"]
    bench["protocol"]["effort"] = effort
    for row in bench["rows"]:
        row["latency"]["n"] = calls
    (tmp_path / "quickstart").mkdir()
    shutil.copytree(RESULTS / "auto", tmp_path / "auto")
    (tmp_path / "quickstart" / "results.json").write_text(json.dumps(content), encoding="utf-8")
    facts = quickstart.quickstart_facts(tmp_path).replace("\n  ", " ")
    assert all(sentence in facts for sentence in sentences), facts


def test_no_inline_region_begins_a_line():
    """CommonMark takes the whole of such a line as HTML: backticks and links in it would show as they are."""
    for name, text in DOCUMENTS.items():
        assert not re.findall(r"^ {0,3}<!-- figures: [a-z0-9-]+ -->.+", text, flags=re.MULTILINE), name


# A number with a unit, a ratio in words, or a score such as 0.849.
FIGURE = re.compile(
    r"\d[\d,.]* ?(?:%|ms\b|[kMG]B\b|s\b|seconds?\b|minutes?\b|hours?\b|GOPS\b|texts/s\b)"
    r"|\d[\d,.]* (?:times|points)\b|(?<!\d )\bx ?(?!86)\d+|\d+x\b|(?<![\d.])0\.\d{3,}"
)
NO_MEASUREMENT = {  # by document: what the pattern finds there, and why it is no measured figure
    "docs/attacks.md": {"2 GB": "a limit of the suite"},
    "docs/variants.md": {
        "3%": "LATENCY_TOLERANCE of export/gate.py",
        "95%": "the level of an interval",
        "99%": "the gate's default",
    },
    "docs/benchmark.md": {"95%": "the level of an interval", "10%": "the slowdown that self-check adds"},
    "results/README.md": {
        "95%": "the level of an interval",
        "10%": "the slowdown that self-check adds",
        "50 ms": "the limit of a benchmark",
    },
}


def written_by_hand(text: str) -> str:
    """A document without its generated regions, blocks and spans of code, and targets of links."""
    text = figures.REGION.sub("", text)
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_figure_is_written_by_hand(document):
    measured = {match.strip() for match in FIGURE.findall(written_by_hand(DOCUMENTS[document]))}
    assert measured == set(NO_MEASUREMENT.get(document, {}))


def test_a_figure_written_by_hand_is_found():
    for sentence in ("It takes 0.28 ms.", "accuracy 0.849", "4.7 MB", "26 times as fast", "97.2% of it", "3x smaller"):
        assert FIGURE.search(written_by_hand(sentence)), sentence
    for sentence in ("Python 3.11 and 3.12", "a grid of `16x32`", "4 layers of width 312", "version 0.3", "seed 0"):
        assert not FIGURE.search(written_by_hand(sentence)), sentence


def test_the_readme_is_short_and_no_paragraph_is_crowded_with_numbers():
    lines = DOCUMENTS["README.md"].splitlines()
    assert len(lines) <= 130
    prose = [line for line in lines if not line.startswith("|")]
    paragraphs = re.split(r"\n\n|\n(?=- )", "\n".join(prose))
    figure = r"\d[\d.,]*(?: \([\d.]+-[\d.]+\))?"  # with its interval
    crowded = [text for text in paragraphs if len(re.findall(figure, text)) >= 9]
    assert len(paragraphs) > 30 and not crowded
