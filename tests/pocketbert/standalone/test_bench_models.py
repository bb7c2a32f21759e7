"""What a benchmark stores as its command can be typed again."""

import shlex
from pathlib import Path

import pytest

from bench.results.measurements import LoadTest
from command_lines import parse
from pocketbert.standalone.bench_models import BenchRequest, made_up_texts


@pytest.mark.parametrize(
    "request_",
    [
        BenchRequest(num_threads=2),
        BenchRequest(
            num_threads=2,
            data=Path("a b.csv"),
            text=("question", "the answer"),
            label="-",
            encoding="cp1252",
            rounds=3,
            restart_every=1,
            grid=("1x16", "16x32"),
            load=LoadTest(bound_ms=2.5, processes=2),
            roofline=True,
            thread_sweep=True,
        ),
    ],
)
def test_the_options_of_a_request_are_those_of_the_command(request_):
    line = shlex.join(["bench", "models", "models/a", "--device", "cpu", *request_.options()])
    assert parse(shlex.split(line)) == "bench models"
    assert "--roofline" in line or not request_.roofline


def test_generated_sentences_are_always_the_same():
    texts = made_up_texts(50)
    assert texts == made_up_texts(50) and all(4 <= len(text.split()) <= 60 for text in texts)
