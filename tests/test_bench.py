import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from conftest import rows, write_csv

from bench import ledger, plots, table, worker
from bench.cautions import cautions
from bench.contenders import Contender, Workload, contenders_at, with_one_again
from bench.latency import Protocol, Samples, measure
from bench.report import write_reports
from bench.results import rows as rows_of
from bench.results import same_twice, speed_up
from bench.schema import FORMAT_VERSION, results_schema
from bench.stats import speed_ratio, summarise, verdict
from bench.validity import check
from compress.errors import UserError

QUICK = Protocol(num_threads=1, rounds=3, texts_per_round=5, texts_per_visit=3, repeats=2, throughput_texts=8)


def test_percentiles_are_of_all_calls_in_milliseconds():
    milliseconds = np.random.default_rng(0).permutation(np.arange(1.0, 301.0))
    found = summarise([(milliseconds.reshape(100, 3) / 1000).tolist()])
    assert (found.n, found.min_ms, found.median_ms, found.mad_ms) == pytest.approx((300, 1.0, 150.5, 75.0))
    assert (found.p90_ms, found.p99_ms) == pytest.approx(np.percentile(milliseconds, [90, 99]))
    assert found.intervals["p90"].low < found.p90_ms < found.intervals["p90"].high <= 300


def test_percentiles_that_so_few_calls_cannot_show_are_left_out():
    all_of_them = ["p90", "p95", "p99"]
    for count, number in ((28, 0), (29, 1), (58, 1), (59, 2), (298, 2), (299, 3)):
        found = summarise([[[0.001 * (1 + call)] for call in range(count)]])
        shown = [name for name in all_of_them if getattr(found, f"{name}_ms") is not None]
        assert shown == all_of_them[:number] and list(found.intervals) == ["p50", *shown]


def test_the_interval_of_a_percentile_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    truth = -np.log(0.1)  # the 90th percentile of an exponential distribution
    trials = [summarise([[generator.exponential(0.001, 200).tolist()]]).intervals["p90"] for _ in range(300)]
    assert 0.92 <= np.mean([found.low <= truth <= found.high for found in trials]) <= 1.0


def test_within_the_margin_there_is_no_practical_difference_significant_or_not():
    assert verdict({"value": 1.015, "low": 1.01, "high": 1.02}) == "no practical difference"
    assert verdict({"value": 0.985, "low": 0.7, "high": 1.3}) == "no practical difference"
    assert verdict({"value": 1.1, "low": 1.05, "high": 1.15}) == "faster"
    assert verdict({"value": 0.9, "low": 0.85, "high": 0.95}) == "slower"
    assert verdict({"value": 1.1, "low": 0.95, "high": 1.25}) == "not significant"


def test_the_ratio_is_paired_by_visit():
    """A machine that slows down for whole visits leaves the ratio as it is."""
    draw = random.Random(0)
    slow = [draw.uniform(1, 5) for _ in range(20)]
    baseline = [[0.010 * s * draw.uniform(0.98, 1.02) for _ in range(30)] for s in slow]
    other = [[0.002 * s * draw.uniform(0.98, 1.02) for _ in range(30)] for s in slow]
    found = speed_ratio([baseline], [other])
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(5.0, rel=0.02)
    assert found.high - found.low < 0.2
    assert speed_ratio([baseline], [baseline]).value == 1.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        noise = generator.normal(0, 0.1, 40)
        found = speed_ratio([[[float(np.exp(value))] for value in noise]], [[[0.5]] * 40], seed=trial)
        covered += found.low <= 2.0 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_knows_that_a_process_is_faster_or_slower_for_its_life():
    """Six processes of twelve visits; each process has a speed of its own, a good percent from the others'."""
    generator = np.random.default_rng(0)

    def measured(seconds: float) -> list:
        own = generator.normal(0, 0.015, (6, 1))
        return (seconds * np.exp(own + generator.normal(0, 0.03, (6, 12))))[:, :, None].tolist()

    found = [speed_ratio(measured(1.0), measured(0.5)) for _ in range(200)]
    assert 0.90 <= np.mean([ratio.low <= 2.0 <= ratio.high for ratio in found]) <= 0.99

    def as_one(processes: list) -> list:
        return [[visit for process in processes for visit in process]]

    one_level = [speed_ratio(as_one(measured(1.0)), as_one(measured(0.5)), seed=trial) for trial in range(100)]
    assert np.mean([ratio.low <= 2.0 <= ratio.high for ratio in one_level]) < 0.85, "visits alone promise too much"


def test_warm_up_ends_when_the_median_is_stable_or_time_is_up(monkeypatch):
    clock, calls = 0.0, 0

    def call() -> None:
        nonlocal clock, calls
        calls += 1
        clock += 0.01 + max(0.0, 0.1 - 0.001 * calls)

    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock)
    worker.warm_up(call, 5.0)
    assert calls > 2 * worker.WARM_UP_WINDOW

    def never_stable() -> None:
        nonlocal clock
        clock += 0.001
        clock *= 1.1

    clock = 0.0
    worker.warm_up(never_stable, 5.0)
    assert clock > 5.0


def test_ratios_are_against_the_first_row_of_the_same_device():
    def sample(device: str, seconds: float, error: str | None = None) -> Samples:
        contender = Contender(name=device, kind="torch", path=f"{device}{seconds}", device=device)
        calls = [[[seconds] * 3] * 2]
        return Samples(
            contender=contender, texts_s=calls, tokens_s={"1x8": calls}, throughput_s=[1.0, 1.0], error=error
        )

    samples = [sample("cpu", 0.010), sample("cuda", 0.004), sample("cpu", 0.002), sample("cuda", 0.001)]
    options = {"labels": None, "num_classes": 2, "metric": "accuracy", "num_throughput_texts": 8, "num_parameters": {}}
    found = rows_of(samples, sizes=[1] * 4, **options)
    assert [row.texts_ratio.value for row in found] == pytest.approx([1.0, 1.0, 5.0, 4.0])
    assert [row.tokens_ratio["1x8"].value for row in found] == pytest.approx([1.0, 1.0, 5.0, 4.0])

    dead = Samples(contender=samples[0].contender, texts_s=[[[0.01]]], error="out of memory")
    found = rows_of([dead, samples[2]], sizes=[1] * 2, **options)
    assert found[0].error == "out of memory" and found[0].texts is None
    assert found[1].texts_ratio is None and found[1].texts.n == 6


@pytest.fixture(scope="module")
def measured(teacher_folder, base_folder):
    lines = rows(30)
    workload = Workload(
        texts=[text for text, _ in lines],
        labels=[int(label == "positive") for _, label in lines],
        grid=[(1, 8), (1, 16), (4, 8), (1, 500)],
    )
    contenders = [
        *contenders_at(teacher_folder, name="teacher", max_length=32),
        *contenders_at(base_folder, name="base"),
        Contender(name="no classifier", kind="torch", path=str(base_folder)),
        Contender(name="nothing there", kind="onnxruntime", path="/nowhere"),
    ]
    progress = []
    found = measure(contenders, workload, QUICK, on_progress=lambda done, total: progress.append((done, total)))
    assert progress == [(done, 28) for done in (*range(1, 9), 12, 16, *range(17, 21), 24, 28)]
    return found


def test_every_round_times_every_contender_on_the_same_inputs(measured):
    teacher = measured[0]
    assert teacher.error is None
    assert [[len(calls) for calls in visits] for visits in teacher.texts_s] == [[3, 2] * 2, [3, 2]], (
        "five texts a round, three in a visit; another process for the third round"
    )
    assert len(teacher.cold_s) == 2 and list(teacher.cold_s[0]) == ["python_s", "import_s", "load_s", "first_answer_s"]
    assert min(teacher.cold_s[0].values()) > 0
    assert set(teacher.within_s) == {"model", "tokenise + model"}
    assert set(teacher.tokens_s) == {"1x8", "1x16", "4x8"}, "lengths beyond the model's limit are left out"
    assert len(teacher.tokens_s["1x8"][0][0]) == QUICK.repeats
    assert len(teacher.tokens_s["4x8"][1][0]) == QUICK.batch_repeats
    assert len(teacher.throughput_s) == 3 and len(teacher.predictions) == 30
    assert all(seconds > 0 for visits in teacher.texts_s for calls in visits for seconds in calls)
    assert teacher.facts["num_threads"] == 1
    assert teacher.facts["num_parameters"] > 0 and teacher.facts["peak_rss_bytes"] > 1e7


def test_a_model_against_itself_is_no_row_but_tells_how_far_to_trust(teacher_folder):
    contenders = with_one_again([*contenders_at(teacher_folder), Contender(name="floor", kind="tfidf", path="-")])
    assert [each.name for each in contenders] == ["teacher, torch fp32", "floor", "teacher, torch fp32, again"]

    def sample(contender: Contender, seconds: float) -> Samples:
        return Samples(contender=contender, texts_s=[[[seconds], [seconds * 1.1]]], throughput_s=[1.0])

    first, floor, again = (sample(each, 0.01) for each in contenders)
    found = same_twice([first, floor, again])
    assert found["name"] == "teacher, torch fp32" and found["ratio"]["value"] == 1.0 and found["is_valid"]
    assert not same_twice([first, floor, sample(contenders[2], 0.02)])["is_valid"]
    again.error = "out of memory"
    assert same_twice([first, floor, again]) is None


def test_the_parts_of_a_speed_up_multiply_to_the_whole():
    draw = np.random.default_rng(0)

    def sample(name: str, seconds: float) -> Samples:
        calls = (seconds * draw.uniform(0.9, 1.1, (2, 10, 3))).tolist()
        return Samples(contender=Contender(name=name, kind="torch", path=name), texts_s=calls)

    samples = [sample("teacher", 0.01), sample("student", 0.004), sample("fused", 0.002), sample("int8", 0.001)]
    steps = [("", "teacher"), ("distillation", "student"), ("runtime", "fused"), ("int8", "int8")]
    *parts, whole = speed_up(samples, steps)
    assert [part["what"] for part in (*parts, whole)] == ["distillation", "runtime", "int8", "all together"]
    assert whole["ratio"]["value"] == speed_ratio(samples[0].texts_s, samples[3].texts_s).value
    assert np.prod([part["ratio"]["value"] for part in parts]) == pytest.approx(whole["ratio"]["value"])
    samples[2].error = "no"
    assert [part["what"] for part in speed_up(samples, steps)] == ["distillation", "int8", "all together"]


def test_the_benchmark_is_held_against_itself(teacher_folder):
    texts = [text for text, _ in rows(30)]
    (model,) = contenders_at(teacher_folder)
    steps = []
    found = check(
        model, Workload(texts=texts), replace(QUICK, rounds=2), runs=2, planted_runs=1,
        on_progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert (len(found["same"]), len(found["slower"])) == (2, 1) and steps == [(1, 3), (2, 3), (3, 3)]
    assert found["missed_1"] == sum(not ratio["low"] <= 1 <= ratio["high"] for ratio in found["same"])
    assert found["found"] == sum(ratio["high"] < 1 for ratio in found["slower"])
    with pytest.raises(RuntimeError, match="no readable bundle"):
        check(replace(model, kind="onnxruntime", path="/nowhere"), Workload(texts=texts), QUICK, runs=1, planted_runs=0)


def test_a_contender_that_cannot_run_says_why_and_the_others_go_on(measured):
    assert "not a fine-tuned classifier" in measured[2].error
    assert "bundle.json" in measured[3].error
    assert measured[2].texts_s == []


def test_an_encoder_without_a_head_is_timed_and_not_scored(measured):
    assert measured[1].contender.name == "base (head random), torch fp32"
    assert len(measured[1].texts_s) == 2 and measured[1].predictions is None


def test_the_peak_of_memory_is_the_workers_own_not_its_parents():
    code = "from bench.worker import peak_rss_bytes; print(peak_rss_bytes())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1e6 < int(found.stdout) < 1e8 < worker.peak_rss_bytes()


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither a bundle .* nor a Hugging Face folder"):
        contenders_at(tmp_path)


def test_the_command_needs_no_recipe(command, teacher_folder, tmp_path):
    found = command("bench", teacher_folder, teacher_folder, "--rounds", 2, "--output", "out")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("torch fp32") == 2 and "times as fast" in found.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    samples = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert [sample["contender"]["again"] for sample in samples] == [False, False, True]


def test_the_command_scores_on_a_labelled_table(command, teacher_folder, tmp_path):
    write_csv(tmp_path / "dev.csv", ("sentence", "class"), rows(20))
    options = (
        "--data",
        "dev.csv",
        "--text",
        "sentence",
        "--label",
        "class",
        "--rounds",
        2,
        "--json",
    )
    found = command("bench", teacher_folder, *options)
    assert found.returncode == 0, found.stderr
    results = json.loads(found.stdout.splitlines()[-1])
    assert 0 <= results["stages"]["bench"]["rows"][0]["score"] <= 1
    schema = json.loads(command("schema", "results").stdout)
    assert schema == json.loads(json.dumps(results_schema()))
    jsonschema.validate(results, schema)
    for broken in ({**results, "format_version": 1}, {**results, "stages": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
    results["stages"]["bench"]["rows"][0]["texts"]["median_ms"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, schema)


def test_models_with_other_labels_are_not_scored_side_by_side(command, teacher_folder, tmp_path):
    turned = shutil.copytree(teacher_folder, tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": "positive", "1": "negative"}
    (turned / "config.json").write_text(json.dumps(config))
    write_csv(tmp_path / "dev.csv", ("text", "label"), rows(20))
    found = command("bench", teacher_folder, turned, "--data", "dev.csv")
    assert found.returncode == 2 and "the models' labels differ" in found.stderr


CPU = "CPUExecutionProvider"


def summary(median: float) -> dict:
    return {"n": 200, "median_ms": median, "p90_ms": median * 1.5, "p95_ms": median * 2, "p99_ms": None}


def fixed_results() -> dict:
    """Made-up figures: what is tested is how they are shown."""

    def row(name: str, kind: str, size: int, score: float, median: float, times: float) -> dict:
        interval = {"value": times, "low": times * 0.9, "high": times * 1.1}
        return {
            "name": name, "kind": kind, "device": "cpu", "size_bytes": size,
            "num_parameters": 7_000_000, "score": score,
            "texts": summary(median), "texts_ratio": interval, "tokens": {"16x32": summary(median)},
            "tokens_ratio": {"16x32": interval}, "throughput": 1000 / median, "error": None,
            "score_interval": [score - 0.02, score + 0.02], "cores_used": 1.9, "num_cold_starts": 4,
            "within": {"model": summary(median * 0.9), "tokenise + model": summary(median * 0.99)},
            "histogram": {"edges_ms": [median * 0.9, median, median * 1.1], "counts": [20, 10]},
            "cold_start": {"python_s": 0.25, "import_s": 2.0, "load_s": 0.5, "first_answer_s": 0.01},
            "facts": {
                "num_threads": 2, "priority": 0, "cores": 2, "ran_on": CPU, "peak_rss_bytes": 2e8,
                "ran": {"provider": CPU, "nodes": {CPU: 40}, "low_precision": 0.98, "fused": {"QAttention": 4}},
            },
        }  # fmt: skip

    def at_count(median: float, times: float) -> dict:
        ratio = {"value": times, "low": times * 0.9, "high": times * 1.1}
        return {"texts": summary(median), "times_fewest": ratio, "times_first": None, "throughput": 1000 / median}

    failed = {
        **row("student fp32, onnxruntime, CUDA", "onnxruntime", 1, 0.0, 1.0, 1.0),
        "texts": None, "score": None, "tokens": None, "error": "no CUDA here", "facts": None, "histogram": None,
        "cores_used": None,
    }  # fmt: skip
    machine = {
        "cpu": "A processor", "usable_cores": 2, "logical_cores": 2, "instructions": ["avx2"], "memory_bytes": 2**34,
        "gpu": None, "system": "Linux", "python": "3.11", "load_average": 0.1, "versions": {"torch": "2.13.0"},
        "settings": {"governor": None, "quota_cores": None, "smt": "off", "physical_cores": 2},
    }  # fmt: skip
    example = {"text": "a <i> text", "pair": None, "expected": [0.6, 0.4], "found": [0.5, 0.5]}
    company = {
        "num_rows": 64, "batch_shift": 0.1, "padding_shift": 0.02, "num_label_changes": 3,
        "example": None,
    }  # fmt: skip
    parity = {
        "num_rows": 100, "max_logit_error": 0.5, "mean_logit_error": 0.04, "logit_error": 0.03, "num_label_flips": 2,
        "metric": 0.84, "torch_metric": 0.85, "example": example, "company": company, "asked_for": CPU,
        "paired": {"difference": -0.01, "low": -0.03, "high": 0.01, "p_value": 0.6},
        "ran": {"provider": CPU, "nodes": {CPU: 40}, "low_precision": 0.98, "fused": {"QAttention": 4}},
    }  # fmt: skip
    saturated = {"num_rows": 100, "max_logit_shift": 0.1, "num_label_changes": 1}
    proof = {"parity": parity, "other_providers": {}, "without_vnni": saturated, "failures": []}
    exported = {"seconds": 1.0, "hops": {}, "variants": {"int8-dynamic": proof}, "recommended": "int8-dynamic"}
    parts = [
        {"what": "distillation", "ratio": {"value": 5.0, "low": 4.8, "high": 5.2}},
        {"what": "runtime", "ratio": {"value": 2.0, "low": 1.9, "high": 2.1}},
        {"what": "int8-dynamic", "ratio": {"value": 2.0, "low": 1.9, "high": 2.1}},
        {"what": "all together", "ratio": {"value": 20.0, "low": 18.0, "high": 22.0}},
    ]
    profile = {
        "shape": "1x128",
        "ms": 2.0,
        "operations": 1e9,
        "parts": [
            {"name": "products", "ms": 1.2, "num_nodes": 14, "operations": 6e8},
            {"name": "attention", "ms": 0.7, "num_nodes": 4, "operations": 4e8},
            {"name": "between operators", "ms": 0.1, "num_nodes": 0, "operations": 0.0},
        ],
    }
    history = [{"step": step, "loss": 1 / step, "loss_hidden": 1 / step} for step in (20, 40)]
    return {
        "format_version": FORMAT_VERSION, "name": "a <b> recipe", "metric": "accuracy", "selected_on_test": False,
        "rows": {"train": 800, "dev": 100, "test": 100}, "remarks": ["2 duplicate rows of train removed"],
        "gate": ["int8-dynamic: keeps 98.00% of its fp32 student's 0.8500, less than 99.00%"],
        "stages": {
            "prediction": {
                "seconds": 12.0, "history": history, "dev_scores": [0.8, 0.85], "num_steps": 40, "resumed_at_step": 20,
            },
            "export": exported,
            "bench": {
                "machine": machine,
                "protocol": {
                    "num_threads": 2, "rounds": 12, "texts_per_visit": 3, "throughput_texts": 128, "restart_every": 2,
                },
                "same_twice": {
                    "name": "student", "ratio": {"value": 1.01, "low": 0.99, "high": 1.03}, "is_valid": True,
                },
                "noise": {"busy_cores": 0.02, "stolen": 0.0, "throttled": 0},
                "lengths": {"mean": 12.0, "p90": 20.0, "longest": 31.0, "padding": 0.4, "padding_sorted": 0.03},
                "speed_up": {"int8-dynamic": {"texts": parts, "16x32": parts}},
                "against": {
                    "student int8-dynamic, onnxruntime": {
                        "texts": [{"what": "teacher fp32, onnxruntime", "ratio": {"value": 9, "low": 8, "high": 10}}],
                    }
                },
                "sizes": {
                    "teacher, torch fp32": {
                        "embedding": 40_000_000, "encoder": 49_000_000, "tokenizer": 900_000, "other files": 100_000,
                    }
                },
                "limits": {
                    "ceilings": {
                        "num_threads": 2, "gigabytes_per_s": 70.0,
                        "products": {
                            "fp32": {"gops": 400.0, "by": "torch"}, "bf16": {"gops": 800.0, "by": "torch"},
                            "int8": {"gops": 1600.0, "by": "torch"},
                        },
                    },
                    "profiles": {"student int8-dynamic, onnxruntime": [profile]},
                },
                "load": {
                    "bound_ms": 20.0, "processes": 2, "num_threads": 1,
                    "rows": [
                        {
                            "name": "student int8-dynamic, onnxruntime", "closed": 900.0, "offline": 1200.0,
                            "highest": 700.0, "error": None, "probes": [
                                {"rate": 700.0, "holds": True, "median_ms": 2.0, "p99_ms": 12.0, "n": 600},
                                {"rate": 850.0, "holds": False, "median_ms": 6.0, "p99_ms": 44.0, "n": 600},
                            ],
                        },
                        {
                            "name": "teacher, torch fp32", "closed": 90.0, "offline": 120.0, "highest": None,
                            "error": None,
                            "probes": [{"rate": 20.0, "holds": False, "median_ms": 10.0, "p99_ms": 30.0, "n": 320}],
                        },
                    ],
                },
                "threads": {
                    "counts": [1, 2],
                    "rows": [
                        {
                            "name": "student int8-dynamic, onnxruntime", "error": None,
                            "by_count": {"1": at_count(0.8, 1.0), "2": at_count(0.5, 1.6)},
                        },
                        {"name": "teacher, torch fp32", "error": "its process ended", "by_count": {}},
                    ],
                },
                "hashes": {"models": {"teacher, torch fp32": "ab" * 32}, "texts": "cd" * 32, "code": "ef" * 32},
                "metric": "accuracy", "grid": ["1x8", "16x32"],
                "rows": [
                    row("teacher, torch fp32", "torch", 90_000_000, 0.87, 10.0, 1.0),
                    row("student int8-dynamic, onnxruntime", "onnxruntime", 8_000_000, 0.85, 0.5, 20.0),
                    failed,
                ],
            },
        },
    }  # fmt: skip


def test_the_table_shows_figures_and_what_was_not_measured():
    lines = table.cells(fixed_results()["stages"]["bench"])
    assert lines[1] == (
        "student int8-dynamic, onnxruntime", "8.0 MB", "7.00 M", "0.850", "0.50", "0.75", "1.00",
        "too few", "20.00 (18.00-22.00)", "2000",
    )  # fmt: skip
    assert "no CUDA here" in lines[2]
    assert {len(line) for line in lines} == {len(table.HEADER)}


def test_the_report_is_one_file_that_asks_for_nothing(tmp_path):
    write_reports(fixed_results(), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for figure in ("97.7%", "x 20.0", "x 11.2", "0.850", "2 of 100", "less than 99.00%", "a &lt;i&gt; text"):
        assert figure in page
    assert "a &lt;b&gt; recipe" in page and "a <b> recipe" not in page
    without_namespaces = page.replace("http://www.w3.org/", "")
    assert "http" not in without_namespaces and "<script" not in page and "@import" not in page
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| student int8-dynamic, onnxruntime | 8.0 MB |" in text
    assert "| model | 8 tokens | 16 x 32 tokens |" in text
    assert "| student int8-dynamic, onnxruntime | - | 0.50 ms, x20.0 |" in text
    assert "| prediction | 40 | 12 s from step 20 on | 0.800 0.850 |" in text
    assert "**97.7%** of the teacher's accuracy kept" in text
    assert "student against itself: 1.01" in text
    assert (
        "| int8-dynamic | distillation, in torch | onnxruntime and fusion | int8-dynamic weights | all together |"
        in text
    )
    assert "| text to label | 5.00 (4.80-5.20) | 2.00 (1.90-2.10) | 2.00 (1.90-2.10) | 20.00 (18.00-22.00) |" in text
    assert "| teacher fp32, onnxruntime | 9.00 (8.00-10.00) |" in text
    assert "| 0.450 | 0.495 | 0.500 | 2.76 s | 250 ms | 2.00 s | 500 ms | 10 ms | 200.0 MB | 1.9 |" in text
    assert (
        "| 1 x 128 | 2.00 | 1.00 G | 500 G | 31% of int8 | products 60%, attention 35%, between operators 5% |" in text
    )
    assert "| 900 | 1200 | 700 | 2.0 | 12.0 | 600 |" in text and "| 90 | 120 | none, of 20 and more |" in text


def test_the_ledger_tells_each_variant_in_a_row_and_in_words():
    exported = fixed_results()["stages"]["export"]
    (row,) = ledger.cells(exported, "accuracy")
    assert row == (
        "int8-dynamic", "recommended", "0.840", "-0.010 (-0.030 to +0.010)", "2 of 100", "0.03", "0.5", "0.1", "0.02",
        "98%",
    )  # fmt: skip
    assert len(row) == len(ledger.HEADER)
    exported["variants"]["int8-dynamic"]["failures"] = ["too slow"]
    exported["variants"]["int8-dynamic"]["other_providers"] = {
        "CUDAExecutionProvider": {
            **exported["variants"]["int8-dynamic"]["parity"],
            "asked_for": "CUDAExecutionProvider",
        }
    }
    ((title, sentences),) = ledger.explained(exported, "accuracy")
    told = "\n".join(sentences)
    assert title == "int8-dynamic: failed: too slow" and "NOT GOOD ENOUGH: too slow" in told
    for part in ("(95 % interval -0.0300 to +0.0100, McNemar p 0.6), not significant", "3 of 64 labels change",
                 "'a <i> text': expected 0.600 0.400, got 0.500 0.500", "(CUDA WAS ASKED FOR)",
                 "logits would move by up to 0.1 and 1 of 100 labels change"):  # fmt: skip
        assert part in told, part


def test_the_report_tells_the_score_after_each_stage_under_the_names_of_the_splits(tmp_path):
    results = fixed_results()
    results["split_names"] = {"dev": "validation_matched", "test": "validation_mismatched"}
    stages = results["stages"]
    stages["teacher"] = {"scores": {"dev": 0.9, "test": 0.89}}
    stages["intermediate"] = {"scores_before": {"dev": 0.6, "test": 0.61}, "scores": {"dev": 0.7, "test": 0.71}}
    stages["prediction"]["scores"] = {"dev": 0.85, "test": 0.84}
    write_reports(results, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| accuracy | dev (validation_matched) | test (validation_mismatched) |" in text
    assert "| student as it came, under the teacher's head | 0.600 | 0.610 |" in text
    assert "| student after the prediction stage | 0.850 | 0.840 |" in text
    assert "dev (validation_matched)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    results["selected_on_test"] = True
    stages["intermediate"] = {"scores_before": None, "scores": None}
    write_reports(results, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| teacher | 0.900 |" in text and "0.890" not in text and "under the teacher's head" not in text


def test_the_report_says_how_to_use_and_make_again_and_what_to_doubt(tmp_path):
    results = fixed_results()
    results |= {
        "smoke": True,
        "reproduce": {"words": "With care.", "command": "pocketbert run x.yaml", "recipe": "a: 1"},
    }
    write_reports(results, tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        for part in (
            "bundles/int8-dynamic/predict.py",
            "pocketbert run x.yaml",
            "This was a smoke run",
            "no CUDA device",
        ):
            assert part in text


def doubts(**changes: object) -> str:
    results = {**fixed_results(), **changes}
    return "\n".join(cautions(results))


def test_cautions_come_with_their_reason_and_only_then():
    told = doubts()
    assert "scores are of 100 rows, so each is known to about 10 points" in told
    assert "probabilities moved by up to 0.1" in told and "student fp32, onnxruntime, CUDA was not measured" in told
    assert "no int8 dot product" in told and "int8-dynamic will be faster" in told
    assert "smoke" not in told and "Other work" not in told and "most common label" not in told
    assert "too few rows for a test split" in doubts(selected_on_test=True)
    assert "would score 0.840, the best model here 0.870" in doubts(most_common_label=0.84)


def test_cautions_look_at_the_floor_and_the_intervals():
    results = fixed_results()
    bench = results["stages"]["bench"]
    assert "INVALID" not in "\n".join(cautions(results))
    bench["same_twice"] |= {"ratio": {"value": 1.2, "low": 1.1, "high": 1.3}, "is_valid": False}
    assert "INVALID: student against itself came out 1.20 (1.10-1.30)" in "\n".join(cautions(results))
    bench["machine"] |= {"instructions": ["avx512_vnni"], "gpu": {"name": "a GPU"}}
    bench["rows"][1]["texts_ratio"] |= {"low": 5.0}
    bench["rows"][2] = {**bench["rows"][1], "name": "TF-IDF", "kind": "tfidf", "score": 0.86}
    told = "\n".join(cautions(results))
    assert "TF-IDF (0.860) does as well as student int8-dynamic, onnxruntime (0.850)" in told
    assert "student int8-dynamic, onnxruntime is uncertain" in told
    assert "CUDA" not in told and "dot product" not in told
    bench["rows"][2]["score"] = 0.9
    assert "The teacher (0.870) is no better than TF-IDF (0.900)" in "\n".join(cautions(results))


def test_plots_are_svg_with_text_alternatives_and_ids_of_their_own():
    bench = fixed_results()["stages"]["bench"]
    scatter = plots.accuracy_against_latency(bench)
    curve = plots.loss_curve(fixed_results()["stages"]["prediction"]["history"], "prediction")
    seen = []
    for svg in (scatter, curve):
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label")
        seen += [node.get("id") for node in root.iter() if node.get("id")]
        assert "#000000" not in svg
    assert len(seen) == len(set(seen)) > 10
    assert plots.accuracy_against_latency({**bench, "rows": bench["rows"][2:]}) is None
