"""The committed figures are documents of this version: they parse, and nothing in them goes unread."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from bench.augmentation_speed.ladder import AugmentationLadder
from bench.plots.loss_curves import CurveComparison
from bench.results.document import Results, read_results
from bench.results.measurements import Ceilings, Profile
from bench.self_check import SelfCheck
from bench.training_speed.ladder import TrainingLadder
from export.results import ExportSteps, Parity, VariantResult

RESULTS = Path(__file__).parents[2] / "results"
DOCUMENTS = {
    "training/training.json": TrainingLadder,
    "augmentation/augmentation.json": AugmentationLadder,
    "general/curves.json": CurveComparison,
    "mpnet/curves.json": CurveComparison,
    "bench/peers.json": Results,
    "bench/shapes.json": Results,
    "bench/load.json": Results,
    "bench/threads.json": Results,
    "quickstart/results.json": Results,
    "bench/self-check.json": SelfCheck,
    "bench/self-check-minilm.json": SelfCheck,
    "bench/self-check-one-process.json": SelfCheck,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_of_this_version(name):
    content = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    document = TypeAdapter(DOCUMENTS[name]).validate_python(content)
    assert to_jsonable_python(document) == content


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name, kind in DOCUMENTS.items() if kind is Results])
def test_a_benchmark_is_read_like_one_that_was_just_made(name, tmp_path):
    (tmp_path / "results.json").write_text((RESULTS / name).read_text(encoding="utf-8"), encoding="utf-8")
    bench = read_results(tmp_path).stages.bench
    assert len(bench.rows) >= 3 and all(row.latency is not None for row in bench.rows)
    assert (bench.load is not None, bench.thread_counts is not None) == (name.endswith("load.json"), "threads" in name)


def test_the_ceilings_and_profiles_are_of_this_version():
    content = read("bench/roofline.json")
    parts = {"ceilings": Ceilings, "profiles": dict[str, list[Profile]]}
    assert {
        name: to_jsonable_python(TypeAdapter(kind).validate_python(content[name])) for name, kind in parts.items()
    } == content


def records_in(content: Any, keys: set[str]) -> Iterator[dict[str, Any]]:
    """The objects below that have these keys."""
    if isinstance(content, dict):
        if keys <= set(content):
            yield content
        for each in content.values():
            yield from records_in(each, keys)


def test_the_parity_of_the_variants_is_of_this_version():
    """Every record in it: what was measured of a variant on dev, its parity on test, and the steps of the export."""
    content = read("export/variants.json")
    parities = [*records_in(content, {"torch_score"})]
    assert len(parities) == 29
    for record in parities:
        assert to_jsonable_python(TypeAdapter(Parity).validate_python(record)) == record
    variants = [*records_in(content, {"parity", "failures"})]
    assert len(variants) == 18
    for record in variants:
        document = to_jsonable_python(TypeAdapter(VariantResult).validate_python(record))
        assert {key: document[key] for key in record} == record
    assert to_jsonable_python(TypeAdapter(ExportSteps).validate_python(content["steps"])) == content["steps"]
