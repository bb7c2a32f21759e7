"""The parts of the report about speed, size and load: each a title, what to know, plots and tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import plots, speed_plots, table
from bench.results import TEXTS, WHOLE
from bench.runners import BOUNDARIES

Cells = list[tuple[str, ...]]
ALONE, TOKENISED, ALL = BOUNDARIES
FROM_TEXT = "text to label"
COLD_PARTS = {"python_s": "Python", "import_s": "imports", "load_s": "loading", "first_answer_s": "first answer"}
COMPUTED_IN = {"int8": "int8", "int4": "int8"}  # the products of these variants; of the others, fp32


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report. `tables`: header and cells of each."""

    title: str
    words: str
    plots: list[str] = field(default_factory=list)
    tables: list[tuple[tuple[str, ...], Cells]] = field(default_factory=list)


def sections(bench: dict[str, Any], recommended: str | None) -> list[Section]:
    """Those that there is something to tell of. `recommended`: the variant that is; None where there was no run."""
    makers = (
        _speed_up(bench, recommended),
        _against(bench, recommended),
        _by_length(bench),
        _in_detail(bench),
        _sizes(bench),
    )
    return [section for section in (*makers, _limits(bench), _threads(bench), _load(bench)) if section is not None]


def _speed_up(bench: dict[str, Any], recommended: str | None) -> Section | None:
    """Where the recommended variant's speed comes from; without a run, that of each that was taken apart."""
    shown = {name: parts for name, parts in bench["speed_up"].items() if recommended in (None, name) and parts[TEXTS]}
    if not shown:
        return None
    found: dict[str, Any] = {"plots": [], "tables": []}
    for name, by_where in shown.items():
        names = {"distillation": "distillation, in torch", "runtime": "onnxruntime and fusion", name: f"{name} weights"}
        told = {
            where: [{**part, "what": names.get(part["what"], part["what"])} for part in parts]
            for where, parts in by_where.items()
            if parts
        }
        found["plots"].append(plots.waterfall([part for part in told[TEXTS] if part["what"] != WHOLE]))
        header = (name, *(part["what"] for part in told[TEXTS]))
        cells = [(_where(where), *(table.ratio(part["ratio"]) for part in parts)) for where, parts in told.items()]
        found["tables"].append((header, cells))
    return Section(
        title="Where the speed comes from",
        words="From the teacher in torch to the variant: the parts multiply to the whole. First text to label on the "
        "task's own lengths, then the model alone on texts x tokens. Intervals: 95 %.",
        **found,
    )


def _against(bench: dict[str, Any], recommended: str | None) -> Section | None:
    tables = []
    for name, by_where in bench["against"].items():
        if recommended is not None and not name.startswith(f"student {recommended},"):
            continue
        told = {where: {part["what"]: part["ratio"] for part in parts} for where, parts in by_where.items() if parts}
        others = list(dict.fromkeys(other for parts in told.values() for other in parts))
        if others:
            header = (f"{name} against", *map(_where, told))
            tables.append(
                (header, [(who, *(table.ratio(parts.get(who)) for parts in told.values())) for who in others])
            )
    if not tables:
        return None
    return Section(
        title="Against the others at their best",
        words="How many times as fast, with 95 % intervals: above 1 is faster than the other.",
        tables=tables,
    )


def _by_length(bench: dict[str, Any]) -> Section | None:
    header, cells = table.grid_cells(bench)
    if not cells:
        return None
    plot = speed_plots.latency_by_length(bench)
    on_gpu = ""
    if any(row["device"] == "cuda" and row["tokens"] for row in bench["rows"]):
        on_gpu = " On CUDA inputs and logits stay on the device, without copies; text to label has the copies in it."
    return Section(
        title="By length",
        words="The model alone, its inputs ready: median milliseconds, and how many times as fast as the first row."
        + on_gpu,
        plots=[] if plot is None else [plot],
        tables=[(header, cells)],
    )


def _in_detail(bench: dict[str, Any]) -> Section | None:
    rows = [row for row in bench["rows"] if row["texts"]]
    if not rows:
        return None
    spread = speed_plots.latency_spread(bench)
    header = ("model", *BOUNDARIES, "cold start", *COLD_PARTS.values(), "peak memory", "cores busy")
    lengths = bench["lengths"]
    of_texts = ""
    if lengths is not None:
        of_texts = (
            f" The texts have {lengths['mean']:.1f} tokens in the mean, nine in ten {lengths['p90']:.0f} at most, all "
            f"{lengths['longest']:.0f} at most. At batch 1 none is padded; of batches of 32, {lengths['padding']:.0%} "
            f"would be padding, of batches of like length {lengths['padding_sorted']:.0%}."
        )
    return Section(
        title="What is in a call, and what it takes to start",
        words="Median milliseconds of the same calls, by what is counted: the model alone; with its tokenizer; from "
        "text to label. Cold start: from the start of a new process to its first answer, files in the system's cache. "
        "Cores busy: with "
        f"{bench['protocol']['throughput_texts']} texts at hand.{of_texts}",
        plots=[] if spread is None else [spread],
        tables=[(header, [_detail(row) for row in rows])],
    )


def _detail(row: dict[str, Any]) -> tuple[str, ...]:
    within, cold = row["within"] or {}, row["cold_start"]
    return (
        row["name"],
        *(f"{within[name]['median_ms']:.3f}" if name in within else "-" for name in (ALONE, TOKENISED)),
        f"{row['texts']['median_ms']:.3f}",
        "-" if cold is None else _seconds(sum(cold.values())),
        *("-" if cold is None else _seconds(cold[part]) for part in COLD_PARTS),
        table.megabytes(row["facts"]["peak_rss_bytes"]),
        "-" if row["cores_used"] is None else f"{row['cores_used']:.1f}",
    )


def _sizes(bench: dict[str, Any]) -> Section | None:
    plot = speed_plots.sizes_by_part(bench["sizes"])
    if plot is None:
        return None
    return Section(title="Size by part", words="What lies on disk, in decimal megabytes.", plots=[plot])


def _limits(bench: dict[str, Any]) -> Section | None:
    limits = bench["limits"]
    if limits is None:
        return None
    ceilings = limits["ceilings"]
    told = ", ".join(f"{name} {facts['gops']:.0f} ({facts['by']})" for name, facts in ceilings["products"].items())
    header = ("model", "shape", "ms", "operations", "per second", "of its ceiling", "greatest parts")
    return Section(
        title="How close to this machine's limits",
        words=f"Measured here with {ceilings['num_threads']} threads: products of large matrices, in 10^9 operations "
        f"a second: {told}; memory {ceilings['gigabytes_per_s']:.0f} GB/s, read and written. Operations are those that "
        "the model's products and attention do, as executed; the ceiling is that of the precision of its weights' "
        "products (attention itself is computed in fp32). The parts are as onnxruntime's profiler has them.",
        plots=[speed_plots.time_by_operator(named) for named in _profiles_by_shape(limits) if named],
        tables=[(header, list(_limit_cells(limits)))],
    )


def _profiles_by_shape(limits: dict[str, Any]) -> list[list[tuple[str, dict[str, Any]]]]:
    shapes = list(dict.fromkeys(each["shape"] for found in limits["profiles"].values() for each in found))
    return [
        [
            (f"{name}, {shape}", each)
            for name, found in limits["profiles"].items()
            for each in found
            if each["shape"] == shape
        ]
        for shape in shapes
    ]


def _limit_cells(limits: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, found in limits["profiles"].items():
        precision = next((kind for start, kind in COMPUTED_IN.items() if start in name), "fp32")
        ceiling = limits["ceilings"]["products"][precision]["gops"]
        for each in found:
            reached = each["operations"] / each["ms"] / 1e6
            greatest = ", ".join(f"{part['name']} {part['ms'] / each['ms']:.0%}" for part in each["parts"][:3])
            yield (
                name,
                _where(each["shape"]),
                f"{each['ms']:.2f}",
                f"{each['operations'] / 1e9:.2f} G",
                f"{reached:.0f} G",
                f"{reached / ceiling:.0%} of {precision}",
                greatest,
            )


def _threads(bench: dict[str, Any]) -> Section | None:
    swept = bench["threads"]
    if swept is None:
        return None
    plot = speed_plots.latency_by_threads(swept)
    counts = [str(count) for count in swept["counts"]]
    header = ("model", *(f"{count} thread{'s' * (count != '1')}" for count in counts))
    return Section(
        title="What more threads are worth",
        words="From text to label, median milliseconds, and times as fast as itself with the fewest threads; then "
        "texts a second with all at hand; then times as fast as the first model with as many threads. Every model with "
        "each number of threads takes part in one interleaved run.",
        plots=[] if plot is None else [plot],
        tables=[
            (header, [_threaded(row, counts, tell) for row in swept["rows"]])
            for tell in (_latency_at, _throughput_at, _times_first_at)
        ],
    )


def _threaded(row: dict[str, Any], counts: Sequence[str], tell: Callable[[dict[str, Any]], str]) -> tuple[str, ...]:
    if row["error"]:
        return (row["name"], f"not measured: {row['error']}", *["-"] * (len(counts) - 1))
    return (row["name"], *(tell(row["by_count"][count]) for count in counts))


def _latency_at(found: dict[str, Any]) -> str:
    return f"{found['texts']['median_ms']:.2f} ms, x{table.ratio(found['times_fewest'])}"


def _throughput_at(found: dict[str, Any]) -> str:
    return f"{found['throughput']:.0f} texts/s"


def _times_first_at(found: dict[str, Any]) -> str:
    return f"x{table.ratio(found['times_first'])}" if found["times_first"] else "-"


def _load(bench: dict[str, Any]) -> Section | None:
    load = bench["load"]
    if load is None:
        return None
    plot = speed_plots.latency_under_load(load)
    bound = f"99 of 100 within {load['bound_ms']:g} ms"
    header = ("model", "one at a time", "all at hand", bound, "p50", "p99", "texts")
    return Section(
        title="Under load",
        words=f"Texts a second. One at a time: each of {load['processes']} processes (threads: {load['num_threads']} "
        "each) answers the next text as soon as the last is done. All at hand: in batches. Then the highest rate of "
        "Poisson arrivals tried at which the bound held, latency counted from when a text arrived; its median and 99th "
        "percentile, in ms.",
        plots=[] if plot is None else [plot],
        tables=[(header, [_loaded(row) for row in load["rows"]])],
    )


def _loaded(row: dict[str, Any]) -> tuple[str, ...]:
    if row["error"]:
        return (row["name"], f"not measured: {row['error']}", *["-"] * 5)
    at = next((probe for probe in row["probes"] if probe["rate"] == row["highest"]), None)
    rates = (row["name"], f"{row['closed']:.0f}", f"{row['offline']:.0f}")
    if at is None:
        return (*rates, f"none, of {min(probe['rate'] for probe in row['probes']):.0f} and more", "-", "-", "-")
    return (*rates, f"{at['rate']:.0f}", f"{at['median_ms']:.1f}", f"{at['p99_ms']:.1f}", str(at["n"]))


def _where(where: str) -> str:
    return FROM_TEXT if where == TEXTS else where.replace("x", " x ")


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def as_markdown(found: Sequence[Section]) -> list[str]:
    """The sections without their plots."""
    parts = []
    for section in found:
        parts += [f"## {section.title}", section.words]
        for header, cells in section.tables:
            parts += ["", table.markdown(header, cells)]
    return parts
