"""The parity ledger in words: what each step from torch to a shipped variant changed, and what forbids to ship one."""

from collections.abc import Iterator

from bench.report.table import Table
from bench.results.phrases import TaskWords, words_for
from export.results import Example, ExportResult, Parity, Saturation, VariantResult

HEADER = (
    "step",
    "verdict",
    "score",
    "less torch's",
    "label flips",
    "logit error",
    "largest",
    "in a batch",
    "padded",
    "low precision",
)
MEANINGS = (
    (
        "score",
        "the metric, of the model as it will serve: texts one by one where a batch changes them",
    ),
    ("less torch's", "its score less that of the torch model on the same rows, with its 95 % interval"),
    ("label flips", "rows that get another label than in torch"),
    ("logit error", "mean absolute error over the spread of torch's logits; largest: of any logit, in logits"),
    ("in a batch, padded", "the largest change of a text's probabilities beside other texts, and with padding alone"),
    (
        "low precision",
        "share of the multiplications by weights that the runtime did with weights in 16 bits or fewer",
    ),
)


def parity_table(exported: ExportResult) -> Table:
    """One row per step from torch to what ships: the graph as exported, after fusion, and each variant."""
    cells = [
        (title, verdict.partition(":")[0], *_figures(parity, words_for(exported.task_type)))
        for title, parity, verdict in _steps(exported)
    ]
    return Table(header=HEADER, cells=cells)


def explain_variants(exported: ExportResult) -> list[tuple[str, list[str]]]:
    """Each variant with sentences on all its results, under its name and verdict."""
    return [
        (f"{name}: {_verdict(exported, name)}", list(_sentences(variant, exported)))
        for name, variant in exported.variants.items()
    ]


def _steps(exported: ExportResult) -> Iterator[tuple[str, Parity, str]]:
    if exported.steps is not None:
        yield "torch, exported", exported.steps.exported, "on the way"
        yield "and fused", exported.steps.fused, "on the way"
    for name, variant in exported.variants.items():
        yield name, variant.parity, _verdict(exported, name)
        for provider, parity in variant.other_providers.items():
            yield f"{name}, {_short(provider)}", parity, "-"


def _verdict(exported: ExportResult, name: str) -> str:
    failures = exported.variants[name].failures
    if failures:
        return f"failed: {'; '.join(failures)}"
    return "recommended" if exported.recommended == name else "passed"


def _figures(parity: Parity, words: TaskWords) -> tuple[str, ...]:
    difference, in_batch = parity.difference, parity.batch_invariance
    return (
        f"{parity.score:.3f}",
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
        words.flips(parity),
        f"{parity.logit_error:.2g}",
        f"{parity.max_logit_error:.2g}",
        f"{in_batch.batch_shift:.2g}",
        f"{in_batch.padding_shift:.2g}",
        f"{parity.session.low_precision:.0%}",
    )


def _sentences(variant: VariantResult, exported: ExportResult) -> Iterator[str]:
    parity, words = variant.parity, words_for(exported.task_type)
    yield from (f"NOT GOOD ENOUGH: {reason}" for reason in variant.failures)
    yield _about_score(parity, exported)
    yield (
        f"logits: {parity.mean_logit_error:.2g} off in the mean, {parity.logit_error:.2g} of their spread; "
        f"{parity.max_logit_error:.2g} at most"
    )
    yield from words.about_flips(parity)
    what = "the first such row" if parity.num_label_flips else "the row furthest off"
    yield f"{what}: {_example(parity.example)}"
    yield words.about_batches(parity.batch_invariance)
    if parity.batch_invariance.example:
        yield f"the text that moves most: {_example(parity.batch_invariance.example)}"
    yield _about_runtime(parity)
    for provider, other in variant.other_providers.items():
        yield f"with {_short(provider)}: {_about_score(other, exported)}; {_about_runtime(other)}"
    if variant.without_vnni is not None:
        yield _about_saturation(variant.without_vnni)


def _about_score(parity: Parity, exported: ExportResult) -> str:
    difference = parity.difference
    certain = "significant" if difference.low > 0 or difference.high < 0 else "not significant"
    test = "" if difference.p_value is None else f", McNemar p {difference.p_value:.2g}"
    return (
        f"{exported.metric} {parity.score:.4f}, torch {parity.torch_score:.4f} on {parity.num_rows} rows: "
        f"{difference.value:+.4f} (95 % interval {difference.low:+.4f} to {difference.high:+.4f}{test}), {certain}"
    )


def _about_runtime(parity: Parity) -> str:
    session = parity.session
    nodes = ", ".join(f"{count} nodes on {_short(name)}" for name, count in session.nodes.items())
    fused = ", ".join(f"{name} {count}" for name, count in session.fused.items())
    fell_back = session.provider != parity.requested_provider
    asked = f" ({_short(parity.requested_provider)} WAS ASKED FOR)" if fell_back else ""
    return (
        f"ran: {nodes}{asked}; {session.low_precision:.1%} of the weights' multiplications in 16 bits or fewer; "
        f"fused: {fused or 'nothing'}"
    )


def _about_saturation(result: Saturation) -> str:
    if not result.num_rows:
        return "its byte products saturate on no processor: no two neighbouring weights are large enough"
    return (
        f"on an x86-64 processor without VNNI its byte products would saturate: logits would move by up to "
        f"{result.max_logit_shift:.2g} and {result.num_label_changes} of {result.num_rows} labels change "
        "(emulated). There predict.py sets the session option session.x64quantprecision, which prevents it; so do if "
        "you load the model yourself, or export with reduce_range"
    )


def _example(example: Example) -> str:
    text = example.text if example.pair is None else f"{example.text} | {example.pair}"
    expected, actual = (" ".join(f"{value:.3f}" for value in answer) for answer in (example.expected, example.actual))
    return f"{text!r}: expected {expected}, got {actual}"


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
