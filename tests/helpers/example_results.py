"""Example results with every part that a run or benchmark can have. Tests of the report use these invented figures."""

from dataclasses import replace
from typing import Any

from bench.results.benchmark import (
    TEXTS,
    AAControl,
    AbsentSystem,
    BenchmarkRow,
    BenchResult,
    Comparison,
    SizeByPart,
    SpeedupStep,
    System,
    TextLengths,
)
from bench.results.document import Choice, Reproduce, Results, RunFacts, SplitSizes, StageResults
from bench.results.measurements import (
    Ceilings,
    ColdStart,
    LatencyHistogram,
    LoadResult,
    LoadTest,
    Machine,
    MachineSettings,
    Noise,
    OperatorTime,
    Percentile,
    Probe,
    ProcessFacts,
    ProductCeiling,
    Profile,
    Protocol,
    Ratio,
    Summary,
    ThreadPoint,
    ThreadSweep,
)
from compress.models.shape import StudentShape
from compress.results import (
    AugmentationCounts,
    AugmentResult,
    GeneralResult,
    IntermediateResult,
    LabelDrift,
    LossEntry,
    MaskedLMAccuracy,
    MaskedLMResult,
    PredictionResult,
    SearchPoint,
    SplitScores,
    TeacherResult,
    TrainingResult,
    VocabularyResult,
    WordVectorsUsed,
)
from export.results import (
    BatchInvariance,
    Example,
    ExportResult,
    ExportSteps,
    MetricDifference,
    Parity,
    Saturation,
    SessionReport,
    VariantResult,
    VariantScores,
)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TEACHER, BUNDLE, FAILED, BASELINE, STUDENT, TEACHER_BUNDLE, PEER = range(7)  # ids of the rows


def ratio(value: float) -> Ratio:
    return Ratio(value=value, low=value * 0.9, high=value * 1.1)


def summary(median: float, n: int = 200, p99: float | None = None) -> Summary:
    return Summary(
        n=n,
        min_ms=median * 0.8,
        median_ms=median,
        mad_ms=median * 0.1,
        p90_ms=median * 1.5,
        p95_ms=median * 2,
        p99_ms=p99,
        intervals={"p50": Percentile(value=median, low=median * 0.95, high=median * 1.05)},
    )


def training(*dev_scores: float, seconds: float = 12.0, resumed_at_step: int = 0, best: int = 1) -> TrainingResult:
    history = [
        LossEntry(step=step, epoch=step / 20, loss=1 / step, learning_rate=1e-4, parts={"hidden": 1 / step})
        for step in (20, 40)
    ]
    return TrainingResult(
        history=history,
        dev_scores=list(dev_scores),
        best_epoch=best,
        num_steps=40,
        resumed_at_step=resumed_at_step,
        seconds=seconds,
    )


SESSION = SessionReport(provider=CPU, nodes={CPU: 40}, low_precision=0.98, fused={"QAttention": 4})
PARITY = Parity(
    num_rows=100,
    max_logit_error=0.5,
    mean_logit_error=0.04,
    logit_error=0.03,
    num_label_flips=2,
    score=0.84,
    torch_score=0.85,
    difference=MetricDifference(value=-0.01, low=-0.03, high=0.01, p_value=0.6),
    example=Example(text="a <i> text", pair=None, expected=[0.6, 0.4], actual=[0.5, 0.5]),
    batch_invariance=BatchInvariance(
        num_rows=64,
        batch_shift=0.1,
        padding_shift=0.02,
        num_label_changes=3,
        example=Example(text="a text", pair="its pair", expected=[0.6, 0.4], actual=[0.5, 0.5]),
    ),
    requested_provider=CPU,
    session=SESSION,
)
FP32_SESSION = replace(SESSION, low_precision=0.0, fused={"Attention": 4})
EXPORT = ExportResult(
    metric="accuracy",
    task_type="classification",
    variants={
        "int8-dynamic": VariantResult(
            parity=PARITY,
            without_vnni=Saturation(num_rows=100, max_logit_shift=0.1, num_label_changes=1),
            scores=VariantScores(dev=0.84, test=0.85),
            size_bytes=8_000_000,
            latency_ms=0.5,
        ),
        "fp16": VariantResult(
            parity=replace(PARITY, session=FP32_SESSION),
            other_providers={CUDA: replace(PARITY, requested_provider=CUDA, session=FP32_SESSION)},
            failures=["too slow"],
            scores=VariantScores(dev=0.84, test=0.85),
            size_bytes=15_000_000,
        ),
    },
    fused_nodes={"Attention": 4},
    steps=ExportSteps(exported=replace(PARITY, session=FP32_SESSION), fused=replace(PARITY, session=FP32_SESSION)),
    teacher_variants=["fp32"],
    recommended="int8-dynamic",
)


def row(row_id: int, system: System, size_bytes: int, score: float | None, median: float, times: float) -> BenchmarkRow:
    """A row with all figures. `median`: latency in milliseconds. `times`: speedup."""
    is_bundle = system.engine == "onnxruntime" and system.role != "peer"
    return BenchmarkRow(
        **vars(system),
        id=row_id,
        size_bytes=size_bytes,
        sha256="ab" * 32,
        num_parameters=7_000_000,
        score=score,
        score_interval=None if score is None else (score - 0.02, score + 0.02),
        latency=summary(median),
        speedup=ratio(times),
        latency_by_boundary={"model": summary(median * 0.9), "tokenise + model": summary(median * 0.99)},
        speedup_by_boundary={"model": ratio(times), "tokenise + model": ratio(times)},
        latency_by_shape={"1x128": summary(median * 4), "16x32": summary(median)},
        speedup_by_shape={"1x128": ratio(times), "16x32": ratio(times)},
        texts_per_s=1000 / median,
        cores_used=1.9,
        histogram=LatencyHistogram(edges_ms=[median * 0.9, median, median * 1.1], counts=[20, 10]),
        cold_start=ColdStart(python_s=0.25, import_s=2.0, load_s=0.5, first_answer_s=0.01),
        num_cold_starts=4,
        process=ProcessFacts(
            num_threads=2,
            ran_on=CPU if is_bundle else "cpu",
            priority=0,
            cores=2,
            peak_rss_bytes=200_000_000,
        ),
        session=SESSION if is_bundle else None,
        size_by_part=SizeByPart(
            embedding=size_bytes // 2, encoder=size_bytes // 4, tokenizer=size_bytes // 8, other_files=size_bytes // 8
        ),
    )


STEPS = [
    SpeedupStep(step="distillation", ratio=Ratio(value=5.0, low=4.8, high=5.2)),
    SpeedupStep(step="runtime", ratio=Ratio(value=2.0, low=1.9, high=2.1)),
    SpeedupStep(step="quantisation", ratio=Ratio(value=2.0, low=1.9, high=2.1)),
    SpeedupStep(step="total", ratio=Ratio(value=20.0, low=18.0, high=22.0)),
]
PROFILE = Profile(
    shape="1x128",
    ms=2.0,
    operations=1e9,
    parts=[
        OperatorTime(name="products", ms=1.2, num_nodes=14, operations=6e8),
        OperatorTime(name="attention", ms=0.7, num_nodes=4, operations=4e8),
        OperatorTime(name="between operators", ms=0.1, num_nodes=0, operations=0.0),
    ],
)


def thread_point(median: float, times: float) -> ThreadPoint:
    return ThreadPoint(
        latency=summary(median), speedup_over_fewest=ratio(times), speedup_over_first=None, texts_per_s=1000 / median
    )


ROWS = [
    replace(
        row(TEACHER, System(label="teacher", role="teacher", engine="torch"), 90_000_000, 0.87, 10.0, 1.0),
        load=LoadResult(
            closed=90.0, offline=120.0, probes=[Probe(rate=20.0, holds=False, latency=summary(10.0, 320, p99=30.0))]
        ),
        threads=ThreadSweep(error="its process ended"),
    ),
    replace(
        row(
            BUNDLE,
            System(
                label="student int8-dynamic",
                role="student",
                engine="onnxruntime",
                precision="int8",
                variant="int8-dynamic",
            ),
            8_000_000,
            0.85,
            0.5,
            20.0,
        ),
        breakdown_by_input={TEXTS: STEPS, "16x32": STEPS, "1x128": []},
        comparisons_by_input={TEXTS: [Comparison(other=TEACHER_BUNDLE, ratio=Ratio(value=9, low=8, high=10))]},
        profiles=[PROFILE],
        load=LoadResult(
            closed=900.0,
            offline=1200.0,
            probes=[
                Probe(rate=700.0, holds=True, latency=summary(2.0, 600, p99=12.0)),
                Probe(rate=850.0, holds=False, latency=summary(6.0, 600, p99=44.0)),
            ],
            highest=700.0,
        ),
        threads=ThreadSweep(by_count={"1": thread_point(0.8, 1.0), "2": thread_point(0.5, 1.6)}),
    ),
    BenchmarkRow(
        id=FAILED,
        label="student fp32",
        role="student",
        engine="onnxruntime",
        device="cuda",
        variant="fp32",
        size_bytes=1,
        error="no CUDA here",
    ),
    replace(
        row(
            BASELINE,
            System(label="TF-IDF + logistic regression", role="baseline", engine="scikit-learn"),
            100_000,
            0.7,
            0.2,
            50.0,
        ),
        latency_by_boundary={},
        speedup_by_boundary={},
        latency_by_shape={},
        speedup_by_shape={},
        size_by_part=None,
    ),
    replace(
        row(STUDENT, System(label="student", role="student", engine="torch"), 30_000_000, 0.85, 2.0, 5.0),
        load=LoadResult(error="its process ended"),
    ),
    row(
        TEACHER_BUNDLE,
        System(label="teacher fp32", role="teacher", engine="onnxruntime", variant="fp32"),
        90_000_000,
        0.87,
        4.5,
        2.2,
    ),
    row(
        PEER,
        System(label="OpenVINO int8", role="peer", engine="openvino", precision="int8"),
        9_000_000,
        0.85,
        0.6,
        16.0,
    ),
]
BENCH = BenchResult(
    machine=Machine(
        cpu="A processor",
        architecture="x86_64",
        instructions=["avx2"],
        logical_cores=2,
        usable_cores=2,
        memory_bytes=2**34,
        system="Linux",
        python="3.11",
        load_average=0.1,
        settings=MachineSettings(governor=None, quota_cores=None, smt="off", physical_cores=2),
        gpu=None,
        versions={"torch": "2.13.0"},
    ),
    noise=Noise(busy_cores=0.02, stolen=0.0, throttled=0),
    protocol=Protocol(num_threads=2, rounds=12, texts_per_visit=3, throughput_texts=128, restart_every=2),
    metric="accuracy",
    grid=["1x8", "1x128", "16x32"],
    text_lengths=TextLengths(mean=12.0, p90=20.0, longest=31.0, padding=0.4, padding_sorted=0.03),
    aa_control=AAControl(id=STUDENT, ratio=Ratio(value=1.01, low=0.99, high=1.03), is_valid=True),
    rows=ROWS,
    absent=[AbsentSystem(name="teacher, onnxruntime", reason="its activation cannot be fused")],
    ceilings=Ceilings(
        num_threads=2,
        products={
            "fp32": ProductCeiling(gops=400.0, by="torch"),
            "bf16": ProductCeiling(gops=800.0, by="torch"),
            "int8": ProductCeiling(gops=1600.0, by="torch"),
        },
        gigabytes_per_s=70.0,
    ),
    load=LoadTest(bound_ms=20.0, processes=1),
    thread_counts=[1, 2],
    texts_sha256="cd" * 32,
    code_sha256="ef" * 32,
)
RESULTS = Results(
    name="a <b> recipe",
    metric="accuracy",
    task_type="classification",
    stages=StageResults(
        teacher=TeacherResult(
            training=training(0.88, 0.9), scores=SplitScores(dev=0.9, test=0.89), num_parameters=22_000_000
        ),
        general=GeneralResult(training=training(), num_rows=1000),
        masked_lm=MaskedLMResult(
            training=training(0.3),
            accuracy=MaskedLMAccuracy(top1=0.326, top15=0.618, num_masked=3996),
            num_rows=500,
        ),
        augment=AugmentResult(
            counts=AugmentationCounts(
                texts=100,
                words=1000,
                replaceable=800,
                from_masked_lm=500,
                from_vectors=200,
                rows=2100,
                variants=2000,
                missing=10,
                redrawn=20,
                replaced_by_masked_lm=5000,
                replaced_by_vectors=1000,
            ),
            vectors=WordVectorsUsed(name="glove", dimension=50, num_words=4000, num_missing=2, missing=["xx", "yy"]),
            drift=LabelDrift(num_variants=2000, changed_share=0.15),
            num_dropped=300,
        ),
        intermediate=IntermediateResult(
            training=training(0.7, best=0),
            scores_before=SplitScores(dev=0.6, test=0.61),
            scores=SplitScores(dev=0.7, test=0.71),
        ),
        prediction=PredictionResult(
            training=training(0.8, 0.85, resumed_at_step=20),
            scores_before=SplitScores(dev=0.7, test=0.71),
            scores=SplitScores(dev=0.85, test=0.84),
            num_parameters=7_000_000,
            search=[
                SearchPoint(learning_rate=1e-5, batch_size=16, dev_score=0.84),
                SearchPoint(learning_rate=3e-5, batch_size=32, dev_score=0.85),
            ],
            vocabulary=VocabularyResult(num_tokens=8000, num_tokens_before=30522, coverage=0.97),
        ),
        export=EXPORT,
        bench=BENCH,
    ),
    run=RunFacts(
        smoke=False,
        selected_on_test=False,
        split_names={},
        num_rows=SplitSizes(train=800, dev=100, test=100),
        most_common_label=0.5,
        takes_pairs=False,
        student=StudentShape(layers=4, width=312, ffn_width=1200, heads=12),
        remarks=["2 duplicate rows of train removed"],
        choices=[Choice(key="teacher.fine_tune.learning_rate", value="0.0003", reason="the best of 4 | on dev")],
        gate=["int8-dynamic: keeps 98.00% of its fp32 student's 0.8500, less than 99.00%"],
    ),
    stage_seconds={"teacher": 12.0, "prediction": 13.0, "export": 1.0},
    reproduce=Reproduce(words="With care.", command="pocketbert run x.yaml", recipe="a: 1"),
)


def with_stages(**changes: Any) -> Results:
    """RESULTS with changed stages."""
    return replace(RESULTS, stages=replace(RESULTS.stages, **changes))


def with_bench(**changes: Any) -> Results:
    """RESULTS with a changed benchmark."""
    return with_stages(bench=replace(BENCH, **changes))


def with_row(row_id: int, **changes: Any) -> Results:
    """RESULTS with one changed row of the benchmark."""
    return with_bench(rows=[replace(row, **changes) if row.id == row_id else row for row in ROWS])


def with_run(**changes: Any) -> Results:
    """RESULTS with changed facts about the run."""
    assert RESULTS.run is not None
    return replace(RESULTS, run=replace(RESULTS.run, **changes))
