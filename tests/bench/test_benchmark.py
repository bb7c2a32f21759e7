import json
import random
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import jsonschema
import numpy as np
import pytest

from bench.analysis.summary import aa_ratio, benchmark_rows, speedup_breakdown, speedup_over
from bench.measurement.stats import speed_ratio, summarise, verdict
from bench.results.benchmark import System
from bench.results.document import results_schema
from bench.results.measurements import Protocol, Ratio
from bench.self_check import run_self_check
from bench.timing import worker
from bench.timing.latency import Samples, time_systems
from bench.timing.systems import Breakdown, Contender, Workload, breakdown_of, contenders_at, with_aa_control
from brief_benchmarks import make_benchmarks_brief
from compress.common.errors import UserError
from tiny_bert import rows, write_csv

QUICK = Protocol(
    num_threads=1, rounds=3, texts_per_round=5, texts_per_visit=3, repeats=2, throughput_texts=8, warm_up_s=0.1
)  # fmt: skip


def test_percentiles_are_of_all_calls_in_milliseconds():
    milliseconds = np.random.default_rng(0).permutation(np.arange(1.0, 301.0))
    summary = summarise([(milliseconds.reshape(100, 3) / 1000).tolist()])
    assert (summary.n, summary.min_ms, summary.median_ms, summary.mad_ms) == pytest.approx((300, 1.0, 150.5, 75.0))
    assert (summary.p90_ms, summary.p99_ms) == pytest.approx(np.percentile(milliseconds, [90, 99]))
    assert summary.intervals["p90"].low < summary.p90_ms < summary.intervals["p90"].high <= 300


def test_percentiles_need_enough_calls():
    percentiles = ["p90", "p95", "p99"]
    for num_calls, num_supported in ((28, 0), (29, 1), (58, 1), (59, 2), (298, 2), (299, 3)):
        summary = summarise([[[0.001 * (1 + call)] for call in range(num_calls)]])
        supported = [name for name in percentiles if getattr(summary, f"{name}_ms") is not None]
        assert supported == percentiles[:num_supported] and list(summary.intervals) == ["p50", *supported]


def test_the_coverage_of_a_percentile_interval_is_nominal():
    generator = np.random.default_rng(1)
    truth = -np.log(0.1)  # the 90th percentile of an exponential distribution
    trials = [summarise([[generator.exponential(0.001, 200).tolist()]]).intervals["p90"] for _ in range(300)]
    assert 0.92 <= np.mean([interval.low <= truth <= interval.high for interval in trials]) <= 1.0


def test_a_ratio_within_the_margin_is_no_practical_difference():
    assert verdict(Ratio(value=1.015, low=1.01, high=1.02)) == "no practical difference"
    assert verdict(Ratio(value=0.985, low=0.7, high=1.3)) == "no practical difference"
    assert verdict(Ratio(value=1.1, low=1.05, high=1.15)) == "faster"
    assert verdict(Ratio(value=0.9, low=0.85, high=0.95)) == "slower"
    assert verdict(Ratio(value=1.1, low=0.95, high=1.25)) == "not significant"


def test_the_ratio_is_paired_by_visit():
    """A slowdown of the machine during whole visits does not change the ratio."""
    generator = random.Random(0)
    slowdowns = [generator.uniform(1, 5) for _ in range(20)]
    baseline = [[0.010 * slowdown * generator.uniform(0.98, 1.02) for _ in range(30)] for slowdown in slowdowns]
    other = [[0.002 * slowdown * generator.uniform(0.98, 1.02) for _ in range(30)] for slowdown in slowdowns]
    ratio = speed_ratio([baseline], [other])
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(5.0, rel=0.02)
    assert ratio.high - ratio.low < 0.2
    assert speed_ratio([baseline], [baseline]).value == 1.0


def test_the_coverage_of_the_ratio_interval_is_nominal():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        noise = generator.normal(0, 0.1, 40)
        ratio = speed_ratio([[[float(np.exp(value))] for value in noise]], [[[0.5]] * 40], seed=trial)
        covered += ratio.low <= 2.0 <= ratio.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_interval_includes_variation_between_processes():
    """Six processes with twelve visits each. The speeds of processes differ by more than 1 %."""
    generator = np.random.default_rng(0)

    def measured(seconds: float) -> list:
        process_effects = generator.normal(0, 0.015, (6, 1))
        return (seconds * np.exp(process_effects + generator.normal(0, 0.03, (6, 12))))[:, :, None].tolist()

    ratios = [speed_ratio(measured(1.0), measured(0.5)) for _ in range(200)]
    assert 0.90 <= np.mean([ratio.low <= 2.0 <= ratio.high for ratio in ratios]) <= 0.99

    def as_one_process(processes: list) -> list:
        return [[visit for process in processes for visit in process]]

    over_visits = [
        speed_ratio(as_one_process(measured(1.0)), as_one_process(measured(0.5)), seed=trial) for trial in range(100)
    ]
    coverage = np.mean([ratio.low <= 2.0 <= ratio.high for ratio in over_visits])
    assert coverage < 0.85, "intervals over visits are too narrow"


def test_the_warm_up_ends_when_the_median_is_stable_or_the_time_is_up(monkeypatch):
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


def test_speedups_are_over_the_first_row_on_the_same_device():
    def sample(device: str, seconds: float, error: str | None = None) -> Samples:
        system = System(label=device, role="model", engine="torch", device=device)
        contender = Contender(system=system, path=f"{device}{seconds}")
        calls = [[[seconds] * 3] * 2]
        return Samples(
            contender=contender, texts_s=calls, shapes_s={"1x8": calls}, throughput_s=[1.0, 1.0], error=error
        )

    samples = [sample("cpu", 0.010), sample("cuda", 0.004), sample("cpu", 0.002), sample("cuda", 0.001)]
    options = {"workload": Workload(texts=[]), "metric": "accuracy", "num_throughput_texts": 8}
    results = benchmark_rows(samples, sizes=[1] * 4, **options)
    assert [row.speedup.value for row in results] == pytest.approx([1.0, 1.0, 5.0, 4.0])
    assert [row.speedup_by_shape["1x8"].value for row in results] == pytest.approx([1.0, 1.0, 5.0, 4.0])
    assert [row.id for row in results] == [0, 1, 2, 3]

    failed = Samples(contender=samples[0].contender, texts_s=[[[0.01]]], error="out of memory")
    results = benchmark_rows([failed, samples[2]], sizes=[1] * 2, **options)
    assert results[0].error == "out of memory" and results[0].latency is None
    assert results[1].speedup is None and results[1].latency.n == 6


@pytest.fixture(scope="module")
def measured(teacher_folder, base_folder):
    lines = rows(30)
    workload = Workload(
        texts=[text for text, _ in lines],
        labels=[int(label == "positive") for _, label in lines],
        grid=[(1, 8), (1, 16), (4, 8), (1, 500)],
    )
    contenders = [
        *contenders_at(teacher_folder, label="teacher", max_length=32),
        *contenders_at(base_folder, label="base"),
        Contender(system=System(label="no classifier", role="model", engine="torch"), path=str(base_folder)),
        Contender(system=System(label="missing", role="model", engine="onnxruntime"), path="/nowhere"),
    ]
    progress = []
    samples = time_systems(contenders, workload, QUICK, on_progress=lambda done, total: progress.append((done, total)))
    steps, totals = zip(*progress, strict=True)
    assert len(set(totals)) == 1 and list(steps) == sorted(set(steps)), "the progress bar only moves forward"
    assert steps[0] > 0 and steps[-1] == totals[0], "it ends full, although some contenders failed"
    return samples


def test_every_round_times_every_contender_on_the_same_inputs(measured):
    teacher = measured[0]
    assert teacher.error is None
    assert [[len(calls) for calls in visits] for visits in teacher.texts_s] == [[3, 2] * 2, [3, 2]], (
        "five texts per round, three per visit, and a new process for the third round"
    )
    assert len(teacher.cold_starts) == 2 and min(asdict(teacher.cold_starts[0]).values()) > 0
    assert set(teacher.boundaries_s) == {"model", "tokenise + model"}
    assert set(teacher.shapes_s) == {"1x8", "1x16", "4x8"}, "lengths above the model's maximum are omitted"
    assert len(teacher.shapes_s["1x8"][0][0]) == QUICK.repeats
    assert len(teacher.shapes_s["4x8"][1][0]) == QUICK.batch_repeats
    assert len(teacher.throughput_s) == 3 and len(teacher.predictions) == 30
    assert all(seconds > 0 for visits in teacher.texts_s for calls in visits for seconds in calls)
    assert teacher.process.num_threads == 1
    assert teacher.num_parameters > 0 and teacher.process.peak_rss_bytes > 1e7


def test_the_aa_control_is_not_a_row(teacher_folder):
    baseline = Contender(system=System(label="baseline", role="baseline", engine="scikit-learn"), path="-")
    contenders = with_aa_control([*contenders_at(teacher_folder), baseline])
    assert [each.name for each in contenders] == [
        "teacher, torch fp32",
        "baseline",
        "teacher, torch fp32 (A/A control)",
    ]
    assert [each.is_scored for each in contenders] == [True, True, False]
    assert contenders[2].spec() == contenders[0].spec(), "the same model"

    def sample(contender: Contender, seconds: float) -> Samples:
        return Samples(contender=contender, texts_s=[[[seconds], [seconds * 1.1]]], throughput_s=[1.0])

    model, other, control = (sample(each, 0.01) for each in contenders)
    result = aa_ratio([model, other, control])
    assert result.id == 0 and result.ratio.value == 1.0 and result.is_valid
    assert not aa_ratio([model, other, sample(contenders[2], 0.02)]).is_valid
    control.error = "out of memory"
    assert aa_ratio([model, other, control]) is None


def test_the_steps_of_a_speedup_multiply_to_the_total():
    generator = np.random.default_rng(0)

    def sample(name: str, seconds: float) -> Samples:
        calls = (seconds * generator.uniform(0.9, 1.1, (2, 10, 3))).tolist()
        system = System(label=name, role="model", engine="torch")
        return Samples(contender=Contender(system=system, path=name), texts_s=calls)

    samples = [sample("teacher", 0.01), sample("student", 0.004), sample("fused", 0.002), sample("int8", 0.001)]
    teacher, student, fused, int8 = (each.contender for each in samples)
    breakdown = breakdown_of(teacher, student, fused, int8)
    assert breakdown.end == int8 and breakdown_of(teacher, student, fused, fused).end == fused
    *steps, total = speedup_breakdown(samples, breakdown)
    assert [step.step for step in (*steps, total)] == ["distillation", "runtime", "quantisation", "total"]
    assert total.ratio.value == speed_ratio(samples[0].texts_s, samples[3].texts_s).value
    assert np.prod([step.ratio.value for step in steps]) == pytest.approx(total.ratio.value)
    assert speedup_breakdown(samples, Breakdown(start=teacher, steps=[("distillation", student)])) == steps[:1]
    samples[2].error = "failed"
    assert [step.step for step in speedup_breakdown(samples, breakdown)] == ["distillation", "quantisation", "total"]
    over_student, over_teacher = speedup_over(samples, int8, [student, fused, teacher])
    assert (over_student.other, over_teacher.other) == (1, 0) and over_teacher.ratio == total.ratio
    assert speedup_over(samples, fused, [teacher]) == []


def test_the_self_check_counts_missed_and_detected_ratios(teacher_folder):
    texts = [text for text, _ in rows(30)]
    (model,) = contenders_at(teacher_folder)
    steps = []
    result = run_self_check(
        model, Workload(texts=texts), replace(QUICK, rounds=2), runs=2, slowed_runs=1,
        on_progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert (len(result.aa_ratios), len(result.slowed_ratios)) == (2, 1) and steps == [(1, 3), (2, 3), (3, 3)]
    assert result.num_aa_missed == sum(not ratio.low <= 1 <= ratio.high for ratio in result.aa_ratios)
    assert result.num_detected == sum(ratio.high < 1 for ratio in result.slowed_ratios)
    missing = replace(model, system=replace(model.system, engine="onnxruntime"), path="/nowhere")
    with pytest.raises(RuntimeError, match="no such folder; expected a bundle"):
        run_self_check(missing, Workload(texts=texts), QUICK, runs=1, slowed_runs=0)


def test_a_failing_contender_reports_its_error_and_the_others_continue(measured):
    assert "not a fine-tuned classifier" in measured[2].error
    assert "no such folder; expected a bundle" in measured[3].error
    assert measured[2].texts_s == []


def test_an_encoder_without_a_head_is_timed_but_not_scored(measured):
    assert measured[1].contender.name == "base (head random), torch fp32"
    assert len(measured[1].texts_s) == 2 and measured[1].predictions is None


def test_peak_memory_excludes_the_parent_process():
    code = "from bench.timing.worker import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1e6 < int(child.stdout) < 1e8 < worker.peak_rss_bytes()


def test_a_folder_without_a_model_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"neither a bundle .* nor a Hugging Face folder"):
        contenders_at(tmp_path)


def test_bench_models_works_without_a_recipe(in_process, monkeypatch, teacher_folder, tmp_path):
    make_benchmarks_brief(monkeypatch)
    options = ("--threads", 1, "--rounds", 2, "--output", "out")
    process = in_process("bench", "models", teacher_folder, teacher_folder, *options)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("torch fp32") == 2 and "times as fast" in process.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    samples = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert [sample["contender"]["is_aa_control"] for sample in samples] == [False, False, True]
    assert {sample["contender"]["path"] for sample in samples} == {teacher_folder.name}


def test_bench_models_scores_on_labelled_data(in_process, monkeypatch, teacher_folder, tmp_path):
    make_benchmarks_brief(monkeypatch)
    write_csv(tmp_path / "dev.csv", ("sentence", "class"), rows(20))
    options = (
        "--data",
        "dev.csv",
        "--text",
        "sentence",
        "--label",
        "class",
        "--threads",
        1,
        "--rounds",
        2,
        "--json",
    )
    process = in_process("bench", "models", teacher_folder, *options)
    assert process.returncode == 0, process.stderr
    results = json.loads(process.stdout.splitlines()[-1])
    assert 0 <= results["stages"]["bench"]["rows"][0]["score"] <= 1
    schema = json.loads(in_process("schema", "results").stdout)
    assert schema == json.loads(json.dumps(results_schema()))
    jsonschema.validate(results, schema)
    for broken in ({**results, "format_version": 1}, {**results, "stages": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
    results["stages"]["bench"]["rows"][0]["latency"]["median_ms"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(results, schema)


def test_models_with_different_labels_are_rejected(in_process, teacher_folder, tmp_path):
    turned = shutil.copytree(teacher_folder, tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    config["id2label"] = {"0": "positive", "1": "negative"}
    (turned / "config.json").write_text(json.dumps(config))
    write_csv(tmp_path / "dev.csv", ("text", "label"), rows(20))
    process = in_process("bench", "models", teacher_folder, turned, "--data", "dev.csv")
    assert process.returncode == 2 and "the models' labels differ" in process.stderr
