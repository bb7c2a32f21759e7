"""Every example on a help page parses, and runs in a folder with the files that it names; so do those of documents."""

import re

import pytest
from transformers import BertForSequenceClassification

from bench.training_speed import ladder
from brief_benchmarks import make_benchmarks_brief
from command_lines import examples, parse, pocketbert_words
from documents import blocks
from pocketbert.cli import app
from pocketbert.standalone import bench_shapes
from tiny_bert import config

EXAMPLES = examples()
LINES = list(dict.fromkeys(line for lines in EXAMPLES.values() for line in lines))
ADDED = {  # options that make a command short, or fit for a tiny model
    "new": ["--teacher", "models/my-bert", "--output", "proposed.yaml"],
    "check": ["--smoke"],
    "run": ["--smoke"],
    "general": ["--smoke"],
    "augment": ["--smoke"],
    "bench models": ["--rounds", 2, "--grid", "1x8", "--threads", 1],
    "bench self-check": ["--runs", 2, "--rounds", 2, "--threads", 1],
    "bench training": ["--rows", 16, "--rounds", 2, "--threads", 1],
    "bench augmentation": ["--rows", 16, "--rounds", 2, "--threads", 1],
    "bench shapes": ["--rounds", 2, "--grid", "1x8", "--threads", 1],
}
TRAINS = "pocketbert run reviews.yaml --set distill.prediction.learning_rate=2e-4 --output runs/second-try"
IN_PLACE_OF = {  # a run that is finished; a run without its benchmark
    "pocketbert run reviews.yaml": "pocketbert run reviews.yaml --output runs/reviews",
    TRAINS: f"{TRAINS} --until export",
}
TRAINS_MANY = "trains dozens of students; test_ablation has small ones"
SERVES = "serves until a signal; other tests start it"
DOWNLOADS = "downloads wheels"
ONLY_PARSED = {
    "pocketbert ablate reviews.yaml --table all --seeds 5 --output ablations/reviews": TRAINS_MANY,
    "pocketbert ablate reviews.yaml --shard 1/2 --output first": TRAINS_MANY,
    "pocketbert ablate reviews.yaml --shard 2/2 --output second": TRAINS_MANY,
    "pocketbert ablate reviews.yaml --output first --merge second": TRAINS_MANY,
    "pocketbert serve runs/reviews/bundles/int8-static": SERVES,
    "pocketbert serve reviews=runs/reviews/bundles/int8-static topics=bundles/topics --port 9000": SERVES,
    "pocketbert serve runs/reviews/bundles/int8-static --host 0.0.0.0 --api-key-file key.txt": SERVES,
    "pocketbert run quickstart": "downloads its data",
    "pocketbert package runs/reviews/bundles/fp32 --target aarch64": DOWNLOADS,
    ("pocketbert package runs/reviews/bundles/fp32 --target x86_64 --python 3.12 --output reviews.tar.gz"): DOWNLOADS,
    "pocketbert demo runs/reviews/bundles/fp32 --open": "serves until it is stopped",
    "pocketbert demo runs/reviews/bundles/fp32 runs/reviews/bundles/int8-static": "serves until it is stopped",
    (
        "pocketbert bench peers models/my-bert runs/reviews/bundles/fp32 --calibration train.csv --data dev.csv "
        "--output results"
    ): "builds environments from the package index",
    "pocketbert push bundles/signed USER/reviews-fp32 --private": "writes to the Hub",
}


def test_every_command_has_an_example_of_its_own():
    """A group has examples of its commands."""
    assert len(LINES) > 30 and set(ADDED) <= set(EXAMPLES)
    assert {*ONLY_PARSED, *IN_PLACE_OF} <= set(LINES)
    for words, lines in EXAMPLES.items():
        assert any(re.search(rf"\bpocketbert {words}\b(?!-)", line) for line in lines), words


@pytest.mark.parametrize("words", EXAMPLES)
def test_the_help_page_shows_its_examples(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert app.main([*words.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert "Usage:" in page and all(line in page for line in EXAMPLES[words]), page


@pytest.mark.parametrize("line", LINES)
def test_an_example_parses(line):
    calls = pocketbert_words(line)
    assert calls
    for call in calls:
        parse(call)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pocketbert report runs/reviews runs/second-try", "unexpected extra argument"),
        ("pocketbert bench models runs/reviews/bundles/fp32 --limits", "No such option"),
        ("pocketbert bench models runs/reviews/bundles/fp32 --load", "requires an argument"),
        ("pocketbert compare runs/reviews", "Missing argument"),
        ("pocketbert bench models runs/reviews/bundles/fp32 --rounds many", "Invalid value"),
    ],
)
def test_what_does_not_parse_is_noticed(line, message):
    (call,) = pocketbert_words(line)
    with pytest.raises(app.UsageError) as caught:
        parse(call)
    assert message in caught.value.format_message()


def small_bert(name: str) -> BertForSequenceClassification:
    """In place of the shapes of `bench shapes`, whatever their name."""
    return BertForSequenceClassification(
        config(vocab_size=bench_shapes.VOCABULARY, max_position_embeddings=bench_shapes.POSITIONS, num_hidden_layers=2)
    )


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in LINES if line not in ONLY_PARSED])
def test_an_example_runs(sandbox, monkeypatch, line):
    few = [ladder.PLAIN, ladder.OURS]  # of the nine configurations that `bench training` times
    monkeypatch.setattr(ladder, "LADDER", dict.fromkeys(ladder.LADDER, few))
    monkeypatch.setattr(bench_shapes, "VOCABULARY", 1000)
    monkeypatch.setattr(bench_shapes, "shape", small_bert)
    make_benchmarks_brief(monkeypatch)
    (sandbox.root / "proposed.yaml").unlink(missing_ok=True)  # `new` never overwrites
    line = IN_PLACE_OF.get(line, line)
    finished = sandbox.run(line, ADDED.get(parse(pocketbert_words(line)[0]), ()))
    assert finished.returncode == 0, finished.stderr
    written = re.findall(r"(?:>|--output) (\S+)", line)
    assert finished.stdout or written
    for name in written:
        path = sandbox.root / name
        assert path.is_dir() or path.stat().st_size > 0, name


MUST_RUN = {  # how many commands of each document run here, and how many as examples of the help pages
    "README.md": (2, 10), "docs/recipe.md": (6, 0), "docs/variants.md": (1, 2), "docs/benchmark.md": (0, 3),
    "docs/troubleshooting.md": (1, 2),
}  # fmt: skip
ADDED_IN_DOCUMENTS = {  # a run that is finished; what makes the others short
    "run": ["--output", "runs/reviews"],
    "check": ["--smoke"],
    "general": ["--smoke"],
    "augment": ["--smoke"],
    "bench models": ["--rounds", 2, "--grid", "1x8", "--threads", 1],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUST_RUN)
def test_the_commands_of_a_document_run(name, sandbox, monkeypatch):
    """The lines of its `sh` blocks, but for those that are examples of help pages."""
    make_benchmarks_brief(monkeypatch)
    lines = [line.partition("  #")[0].strip() for line in "".join(blocks(name, "sh")).splitlines()]
    help_lines = {line for each in EXAMPLES.values() for line in each}
    own_lines = [line for line in lines if line not in help_lines]
    for line in own_lines:
        finished = sandbox.run(line, ADDED_IN_DOCUMENTS.get(parse(pocketbert_words(line)[0]), ()))
        assert finished.returncode == 0, f"{line}: {finished.stderr}"
    assert (len(own_lines), len(lines) - len(own_lines)) == MUST_RUN[name]
