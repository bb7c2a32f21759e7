"""The efforts, the shapes of TinyBERT's Table 1, roofline, threads, load and self-checks, from results/bench/."""

from pathlib import Path
from typing import get_args

from pydantic import TypeAdapter

from bench.results.benchmark import TEXTS, BenchmarkRow
from bench.results.measurements import Ceilings, Effort, Profile, Ratio
from bench.self_check import SelfCheck
from bench.timing.effort import settings_of
from bench.timing.systems import GRID_LENGTHS, shape_name
from regions.cells import bullets, machine_words, megabytes, ratio, read_json, read_results, table

GRAPHS = {
    "library-fp32": ("fp32, as the library fuses it", "fp32"),
    "fp32": ("fp32, ours", "fp32"),
    "library-int8": ("int8, the library's (dynamic)", "int8"),
    "int8-static": ("int8-static, ours", "int8"),
}
CHECKS = {
    "self-check": "int8-static, a new process every second round, interval over the processes",
    "self-check-minilm": "MiniLM in torch, a new process every second round, interval over the processes",
    "self-check-one-process": "MiniLM in torch, one process each, interval over the visits",
}


def _input_words(name: str) -> str:
    return "text to label" if name == TEXTS else name.replace("x", " x ")


def bench_efforts(results: Path) -> str:
    """The settings of each effort; `results` is not read."""
    rows = []
    for effort in get_args(Effort):
        settings = settings_of(effort)
        processes = len(range(0, settings.rounds, settings.restart_every))
        shapes = [shape_name(shape) for shape in settings.grid(max(GRID_LENGTHS))]
        rows.append(
            (
                f"`{effort}`",
                f"{settings.rounds * settings.texts_per_round}",
                f"{processes}",
                ", ".join(map(_input_words, shapes)) or "none",
                "yes" if settings.compiled_teacher else "no",
                "yes" if settings.roofline else "no",
            )
        )
    header = ("effort", "calls per model", "processes per model", "shapes", "torch.compile", "roofline")
    return table(header, rows, text_columns=(0, 3, 4, 5))


def bench_machine(results: Path) -> str:
    """The machine of the inference benchmarks."""
    bench = read_results(results / "bench" / "shapes.json").stages.bench
    return f"Machine: {machine_words(bench.machine)}, {bench.protocol.num_threads} threads per model."


def shapes_breakdown(results: Path) -> str:
    """TinyBERT4 compared with BERT-base: the factors of its speedup, by input."""
    bench = read_results(results / "bench" / "shapes.json").stages.bench
    student = _row(bench.rows, "TinyBERT4", "int8-static")
    references = [_row(bench.rows, "BERT-base", variant).id for variant in ("fp32", "int8-static")]
    rows = []
    for name, steps in student.breakdown_by_input.items():
        over = {each.other: each.ratio for each in student.comparisons_by_input[name]}
        factors = [ratio(step.ratio) for step in steps]
        rows.append((_input_words(name), *factors, *(ratio(over[row_id]) for row_id in references)))
    header = (
        "input", "distillation, in torch", "onnxruntime and fusion", "int8-static", "total",
        "over BERT-base fp32 in onnxruntime", "over BERT-base int8-static",
    )  # fmt: skip
    return table(header, rows)


def shapes_control(results: Path) -> str:
    """The A/A control of that run."""
    control = read_results(results / "bench" / "shapes.json").stages.bench.aa_control
    assert control is not None
    return ratio(control.ratio)


def shapes_published(results: Path) -> str:
    """The size and speed columns of the paper's Table 1, and what was counted and timed here."""
    rows = [
        (
            shape.name,
            f"{shape.paper.parameters:g} M",
            f"{shape.parameters:.1f} M",
            f"{shape.paper.operations:g} G",
            f"{shape.operations:.1f} G",
            "-" if shape.paper.times is None else f"{shape.paper.times:g}",
            ratio(shape.times),
        )
        for shape in read_results(results / "bench" / "shapes.json").shapes
    ]
    header = ("shape", "parameters, paper", "here", "operations, paper", "here", "times as fast, paper", "here")
    return table(header, rows)


def shapes_latency(results: Path) -> str:
    """Median milliseconds of the model alone, by shape."""
    bench = read_results(results / "bench" / "shapes.json").stages.bench
    rows = [
        (
            row.name.replace(" (random weights)", ""),
            megabytes(row.size_bytes),
            *(f"{row.latency_by_shape[shape].median_ms:.2f}" for shape in bench.grid),
        )
        for row in bench.rows
    ]
    return table(("model", "size", *map(_input_words, bench.grid)), rows)


def _row(rows: list[BenchmarkRow], label: str, variant: str) -> BenchmarkRow:
    return next(row for row in rows if row.label.startswith(label) and row.variant == variant)


def _roofline(results: Path) -> tuple[Ceilings, dict[str, list[Profile]]]:
    content = read_json(results / "bench" / "roofline.json")
    profiles: dict[str, list[Profile]] = TypeAdapter(dict[str, list[Profile]]).validate_python(content["profiles"])
    return TypeAdapter(Ceilings).validate_python(content["ceilings"]), profiles


def roofline_ceilings(results: Path) -> str:
    """The fastest matrix products and the memory bandwidth of the machine."""
    ceilings, _ = _roofline(results)
    products = ", ".join(f"{name} {ceiling.gops:,.0f}" for name, ceiling in ceilings.products.items())
    return f"{products} GOPS; memory {ceilings.gigabytes_per_s:.0f} GB/s."


def roofline_profiles(results: Path) -> str:
    """How near each graph comes to the ceiling of its precision, and its four largest parts."""
    ceilings, profiles = _roofline(results)
    rows = []
    for name, (title, precision) in GRAPHS.items():
        for profile in profiles[name]:
            per_second = profile.operations / profile.ms / 1e6
            parts = sorted(profile.parts, key=lambda part: part.ms, reverse=True)[:4]
            rows.append(
                (
                    title,
                    _input_words(profile.shape),
                    f"{profile.ms:.2f}",
                    f"{profile.operations / 1e9:.2f} G",
                    f"{per_second:.0f} G",
                    f"{per_second / ceilings.products[precision].gops:.0%} of {precision}",
                    ", ".join(f"{part.name} {part.ms / profile.ms:.0%}" for part in parts),
                )
            )
    header = ("graph", "input", "ms", "operations", "per second", "of the roofline", "time by operator")
    return table(header, rows, text_columns=(0, 6))


def roofline_facts(results: Path) -> str:
    """What our graph saves, and what keeps int8-static from its ceiling."""
    _, profiles = _roofline(results)
    one, many = profiles["int8-static"]
    saved = 1 - profiles["fp32"][0].operations / profiles["library-fp32"][0].operations
    attention = [next(part for part in profile.parts if part.name == "attention") for profile in (one, many)]
    products = [next(part for part in profile.parts if part.name == "products") for profile in (one, many)]
    reached = sorted(part.operations / part.ms / 1e6 for part in products)
    return bullets(
        (
            f"Our graph does {saved:.0%} fewer operations at 1 x 128, with the same output.",
            "int8-static spends most of its time in attention: `QAttention` computes the scores, and their product "
            f"with V, in fp32. That is {attention[0].ms / one.ms:.0%} of the time at 1 x 128 and "
            f"{attention[1].ms / many.ms:.0%} at 32 x 128. The other products reach {reached[0]:,.0f} to "
            f"{reached[1]:,.0f} GOPS.",
        )
    )


def threads_sweep(results: Path) -> str:
    """Latency and throughput with one thread and with two."""
    rows = []
    for row in read_results(results / "bench" / "threads.json").stages.bench.rows:
        assert row.threads is not None
        one, two = row.threads.by_count["1"], row.threads.by_count["2"]
        rows.append(
            (
                _short(row),
                f"{one.latency.median_ms:.2f}",
                f"{two.latency.median_ms:.2f}",
                ratio(two.speedup_over_fewest),
                f"{one.texts_per_s:,.0f}",
                f"{two.texts_per_s:,.0f}",
            )
        )
    header = ("model", "1 thread, ms", "2 threads, ms", "times as fast", "1 thread, texts/s", "2 threads, texts/s")
    return table(header, rows)


def load_rates(results: Path) -> str:
    """Texts per second, and the highest rate of Poisson arrivals at which the bound holds."""
    bench = read_results(results / "bench" / "load.json").stages.bench
    assert bench.load is not None
    rows = []
    for row in bench.rows:
        assert row.load is not None and row.load.highest is not None
        best = next(probe for probe in row.load.probes if probe.rate == row.load.highest)
        rows.append(
            (
                _short(row),
                f"{row.load.closed:,.0f}",
                f"{row.load.offline:,.0f}",
                f"{row.load.highest:,.0f}",
                f"{best.latency.median_ms:.1f}",
                f"{best.latency.p99_ms:.1f}",
            )
        )
    bound = f"99 of 100 within {bench.load.bound_ms:g} ms"
    header = ("texts/s", "one at a time", "all at hand", bound, "then p50, ms", "p99, ms")
    return table(header, rows)


def _short(row: BenchmarkRow) -> str:
    return row.variant or f"{row.engine} {row.precision}"


def self_checks(results: Path) -> str:
    """How many intervals of the A/A test contain 1, their half-width, and how often the slower copy is detected."""
    rows = []
    for name, title in CHECKS.items():
        check = _check(results, name)
        runs = len(check.aa_ratios)
        rows.append(
            (
                title,
                f"{runs - check.num_aa_missed} of {runs}",
                f"{check.median_half_width:.1%}",
                f"{check.num_detected} of {len(check.slowed_ratios)}",
            )
        )
    return table(("model and procedure", "intervals that contain 1", "median half-width", "slower copy detected"), rows)


def self_check_spread(results: Path) -> str:
    """The range of the A/A ratios with and without restarts."""
    restarted, not_restarted = (_check(results, name).aa_ratios for name in ("self-check", "self-check-one-process"))
    return (
        f"The A/A ratios of int8-static, with restarts, are between {_range(restarted)}. Those of MiniLM, with one\n"
        f"process, are between {_range(not_restarted)}."
    )


def _range(ratios: list[Ratio]) -> str:
    values = [each.value for each in ratios]
    return f"{min(values):.2f} and {max(values):.2f}"


def _check(results: Path, name: str) -> SelfCheck:
    check: SelfCheck = TypeAdapter(SelfCheck).validate_python(read_json(results / "bench" / f"{name}.json"))
    return check


REGIONS = {
    "bench-efforts": bench_efforts,
    "bench-machine": bench_machine,
    "shapes-breakdown": shapes_breakdown,
    "shapes-control": shapes_control,
    "shapes-published": shapes_published,
    "shapes-latency": shapes_latency,
    "roofline-ceilings": roofline_ceilings,
    "roofline-profiles": roofline_profiles,
    "roofline-facts": roofline_facts,
    "threads-sweep": threads_sweep,
    "load-rates": load_rates,
    "self-checks": self_checks,
    "self-check-spread": self_check_spread,
}
