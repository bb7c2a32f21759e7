"""Estimates how long the benchmark of a recipe takes."""

from bench.measurement import machine
from bench.results.measurements import LoadTest
from bench.timing.duration import LineupCost, benchmark_seconds
from bench.timing.thread_sweep import thread_counts_up_to
from pocketbert.recipe.sections import Recipe, grid_of


def benchmark_seconds_of(
    recipe: Recipe,
    *,
    num_test_rows: int,
    teacher_ms: float,
    student_ms: float,
    mean_tokens: float,
    torch_start_s: float = 5.0,
) -> float:
    """The expected seconds of a recipe's benchmark on the CPUs of this machine.

    `teacher_ms`, `student_ms`: one text of `mean_tokens` in torch, at batch size 1. `torch_start_s`: start of a process
    until torch has predicted a text.
    """
    section, settings = recipe.bench, recipe.bench.settings()
    threads = section.threads or machine.usable_cores()
    bound = section.latency_bound_ms
    return benchmark_seconds(
        LineupCost(
            teacher_ms=teacher_ms,
            student_ms=student_ms,
            mean_tokens=mean_tokens,
            num_teacher_bundles=len(recipe.export.teacher_variants),
            num_student_bundles=len(recipe.export.variants),
            num_rows=num_test_rows,
            compiled_teacher=settings.compiled_teacher,
            roofline=settings.roofline,
            torch_start_s=torch_start_s,
        ),
        settings.protocol(section.effort, num_threads=threads),
        grid_of(recipe),
        load=None if bound is None else LoadTest(bound_ms=bound, processes=section.processes),
        thread_counts=thread_counts_up_to(threads) if section.thread_sweep else (),
    )
