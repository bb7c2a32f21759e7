"""The bench stage: time and score teacher, student, bundles and the TF-IDF baseline on the test rows."""

from dataclasses import replace
from pathlib import Path

from bench.analysis import tfidf_baseline
from bench.benchmark import BenchOptions, run_benchmark
from bench.measurement import machine
from bench.results.benchmark import AbsentSystem, BenchResult, Device, System
from bench.results.measurements import LoadTest, Protocol
from bench.results.phrases import phrases_for
from bench.timing.systems import Contender, Lineup, Workload, breakdown_of, contenders_at
from compress.results import PredictionResult
from export.quantisation.variants import FOR_GPU, VARIANTS
from export.results import ExportResult
from pocketbert.recipe.sections import Recipe, grid_of
from pocketbert.stage_parts.context import StageContext
from pocketbert.store.workspace import Workspace


def benchmark_run(context: StageContext, workspace: Workspace) -> BenchResult:
    """Time all systems, interleaved. The stage's folder keeps the raw samples."""
    recipe, task = context.recipe, context.task
    baseline_file = context.folder / "baseline" / tfidf_baseline.FILE
    bound = recipe.bench.latency_bound_ms
    return run_benchmark(
        _lineup(context, baseline_file),
        Workload(
            texts=task.test.texts,
            pairs=task.test.pairs,
            labels=task.test.labels.tolist(),
            task_type=task.type,
            num_labels=len(task.labels),
            positive=context.positive,
            grid=grid_of(recipe),
        ),
        _protocol(recipe),
        recipe.task.metric,
        BenchOptions(
            load=None if bound is None else LoadTest(bound_ms=bound, processes=recipe.bench.processes),
            roofline=recipe.bench.settings().roofline,
            thread_sweep=recipe.bench.thread_sweep,
        ),
        samples_file=workspace.output / "samples.json",
        console=context.console,
    )


def _protocol(recipe: Recipe) -> Protocol:
    """How much the benchmark measures. A smoke run makes fewer calls: its figures prove nothing anyway."""
    settings = recipe.bench.settings()
    protocol = settings.protocol(recipe.bench.effort, num_threads=num_threads_of(recipe), seed=recipe.seed)
    return replace(protocol, texts_per_round=10, repeats=3, throughput_texts=32) if recipe.smoke else protocol


def num_threads_of(recipe: Recipe) -> int:
    """Threads of every system: those of the recipe, or all usable cores divided by the processes of the load test."""
    processes = recipe.bench.processes if recipe.bench.latency_bound_ms is not None else 1
    return recipe.bench.threads or machine.threads_for(processes, machine.usable_cores())


def _lineup(context: StageContext, baseline_file: Path) -> Lineup:
    """The systems of the benchmark, and which of them are compared. `baseline_file`: of the fitted baseline."""
    devices: list[Device] = ["cpu"] if machine.cuda_device() is None else ["cpu", "cuda"]
    exported = context.result("export", ExportResult)
    teacher = _teacher_systems(context, exported, devices)
    student: list[Contender] = []
    for device in devices:
        student += contenders_at(
            context.folder / "prediction" / "model",
            role="student",
            label="student",
            device=device,
            max_length=context.task.max_length,
        )
    bundles = _student_bundles(context, devices)
    on_cpu = [each for each in bundles if each.system.device == "cpu"]
    teacher_on_cpu = [each for each in teacher if each.system.device == "cpu"]
    fp32 = next((each for each in on_cpu if each.system.variant == "fp32"), None)
    baseline = System(label=phrases_for(context.task.type).baseline, role="baseline", engine="scikit-learn")
    not_exported = exported.teacher_not_exported
    return Lineup(
        contenders=[*teacher, *student, *bundles, Contender(system=baseline, path=str(baseline_file))],
        absent=[] if not_exported is None else [AbsentSystem(name="teacher, onnxruntime", reason=not_exported)],
        breakdowns=[breakdown_of(teacher[0], student[0], fp32, each) for each in on_cpu],
        compared=dict.fromkeys(on_cpu, teacher_on_cpu),
    )


def _teacher_systems(context: StageContext, exported: ExportResult, devices: list[Device]) -> list[Contender]:
    """The teacher in torch on each device, and then its bundles."""
    teacher: list[Contender] = []
    for device in devices:
        teacher += contenders_at(
            context.folder / "teacher" / "model",
            role="teacher",
            label="teacher",
            device=device,
            max_length=context.task.max_length,
            compiled=context.recipe.bench.settings().compiled_teacher,
        )
    for variant in exported.teacher_variants:
        bundle = context.folder / "export" / "teacher" / variant
        teacher += contenders_at(bundle, role="teacher", label=f"teacher {variant}")
    return teacher


def _student_bundles(context: StageContext, devices: list[Device]) -> list[Contender]:
    """Every variant on the CPU, and on CUDA those that CUDA runs."""
    num_parameters = context.result("prediction", PredictionResult).num_parameters
    bundles: list[Contender] = []
    for variant in context.recipe.export.variants:
        for device in devices if VARIANTS[variant].weights in FOR_GPU else devices[:1]:
            bundles += contenders_at(
                context.folder / "export" / variant,
                role="student",
                label=f"student {variant}",
                device=device,
                num_parameters=num_parameters,
            )
    return bundles
