"""The parity table: how much each step from torch to a bundle changes the model, and why a variant fails."""

from collections.abc import Iterator, Sequence

from bench.report.table import Table
from bench.results.phrases import TaskPhrases, phrases_for
from compress.common.wording import short_name, shorten
from export.results import Example, ExportResult, Parity, ProbeResult, Saturation, VariantResult

HEADER = (
    "step",
    "verdict",
    "rows",
    "score",
    "minus torch",
    "label flips",
    "logit error",
    "largest",
    "batch shift",
    "padding shift",
    "low precision",
)
FEW_OUTPUTS = 3  # of a model, in a sentence
MEANINGS = (
    ("rows", "the dev rows of the comparison, from the first on; scores on different rows cannot be compared"),
    ("score", "the metric of the model as it is served: texts one by one if it is batch-dependent"),
    ("minus torch", "its score minus the score of the torch model on the same rows, with a 95 % interval"),
    ("label flips", "rows whose label differs from the label in torch"),
    ("logit error", "mean absolute error of the logits, divided by the standard deviation of torch's logits"),
    ("largest", "largest absolute error of any logit"),
    ("batch shift", "largest change of a text's probabilities when it is batched with other texts"),
    ("padding shift", "largest change of a text's probabilities when it is padded but on its own"),
    ("low precision", "share of the multiplications by weights that ran with weights of 16 bits or fewer"),
)


def parity_table(exported: ExportResult) -> Table:
    """One row for each step from torch to a bundle: the exported graph, the fused graph, and each variant."""
    cells = [
        (title, verdict.partition(":")[0], *_figures(parity, phrases_for(exported.task_type)))
        for title, parity, verdict in _steps(exported)
    ]
    return Table(header=HEADER, cells=cells)


def explain_variants(exported: ExportResult) -> list[tuple[str, list[str]]]:
    """The name and verdict of each variant, with sentences on all its results."""
    return [
        (f"{name}: {_verdict(exported, name)}", list(_sentences(variant, exported)))
        for name, variant in exported.variants.items()
    ]


def _steps(exported: ExportResult) -> Iterator[tuple[str, Parity, str]]:
    if exported.steps is not None:
        yield "exported graph", exported.steps.exported, "-"
        yield "fused graph", exported.steps.fused, "-"
    for name, variant in exported.variants.items():
        yield name, variant.parity, _verdict(exported, name)
        for provider, parity in variant.other_providers.items():
            yield f"{name}, {_short(provider)}", parity, "-"


def _verdict(exported: ExportResult, name: str) -> str:
    failures = exported.variants[name].failures
    if failures:
        return f"failed: {'; '.join(failures)}"
    return "recommended" if exported.recommended == name else "passed"


def _figures(parity: Parity, phrases: TaskPhrases) -> tuple[str, ...]:
    difference, in_batch = parity.difference, parity.batch_invariance
    return (
        f"{parity.num_rows:,}",
        f"{parity.score:.3f}",
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
        phrases.flips(parity),
        f"{parity.logit_error:.2g}",
        f"{parity.max_logit_error:.2g}",
        f"{in_batch.batch_shift:.2g}",
        f"{in_batch.padding_shift:.2g}",
        f"{parity.session.low_precision:.0%}",
    )


def _sentences(variant: VariantResult, exported: ExportResult) -> Iterator[str]:
    parity, phrases = variant.parity, phrases_for(exported.task_type)
    yield from (f"NOT GOOD ENOUGH: {reason}" for reason in variant.failures)
    yield _about_score(parity, exported)
    yield (
        f"logits: mean error {parity.mean_logit_error:.2g}, which is {parity.logit_error:.2g} of the standard "
        f"deviation of torch's logits; largest error {parity.max_logit_error:.2g}"
    )
    if parity.probes is not None:
        yield _about_probes(parity.probes)
    yield from phrases.about_flips(parity)
    what = "the first such row" if parity.num_label_flips else "the row with the largest error"
    yield f"{what}: {_example(parity.example, exported.labels)}"
    yield phrases.about_batches(parity.batch_invariance)
    if parity.batch_invariance.example:
        yield f"the text that changes most: {_example(parity.batch_invariance.example, exported.labels)}"
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
        f"{exported.metric_name} {parity.score:.4f}, in torch {parity.torch_score:.4f}, on {parity.num_rows} rows: "
        f"{difference.value:+.4f} (95 % interval {difference.low:+.4f} to {difference.high:+.4f}{test}), {certain}"
    )


def _about_probes(probes: ProbeResult) -> str:
    texts = f"{probes.num_rows} rows and {probes.num_probes} unusual texts"
    changed = f"{probes.num_token_changes} of them" if probes.num_token_changes else "none of them"
    logits = "" if probes.logit_error is None else f"; logit error on the unusual texts {probes.logit_error:.2g}"
    return f"tokens: compared with those of the model's own tokenizer on {texts}; {changed} have other tokens{logits}"


def _about_runtime(parity: Parity) -> str:
    session = parity.session
    nodes = ", ".join(f"{count} nodes on {_short(name)}" for name, count in session.nodes.items())
    fused = ", ".join(f"{name} {count}" for name, count in session.fused.items())
    fell_back = session.provider != parity.requested_provider
    requested = f" ({_short(parity.requested_provider)} WAS REQUESTED)" if fell_back else ""
    return (
        f"session: {nodes}{requested}; {session.low_precision:.1%} of the multiplications by weights in 16 bits or "
        f"fewer; fused: {fused or 'nothing'}"
    )


def _about_saturation(result: Saturation) -> str:
    if not result.num_rows:
        return "its int8 products saturate on no processor: no two adjacent weights are large enough"
    return (
        "on an x86-64 processor without VNNI, its int8 products would saturate (emulated): logits would change by up "
        f"to {result.max_logit_shift:.2g}, and {result.num_label_changes} of {result.num_rows} labels would change. "
        "predict.py prevents this with the session option session.x64quantprecision. Set it too if you load the model "
        "yourself, or export with reduce_range"
    )


def _example(example: Example, labels: Sequence[str]) -> str:
    text = shorten(example.text if example.pair is None else f"{example.text} | {example.pair}")
    if len(example.expected) <= FEW_OUTPUTS and len(labels) != len(example.expected):
        expected, actual = (" ".join(f"{value:.3f}" for value in row) for row in (example.expected, example.actual))
    else:
        expected, actual = (_outputs(row, labels) for row in (example.expected, example.actual))
    return f"{text!r}: expected {expected}, got {actual}"


def _outputs(values: Sequence[float], labels: Sequence[str]) -> str:
    """The outputs of a model by name, the largest first and no more than a few."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    largest = sorted(range(len(values)), key=lambda index: -values[index])[:FEW_OUTPUTS]
    names = labels if len(labels) == len(values) else [f"class {index}" for index in range(len(values))]
    return ", ".join(f"{short_name(names[index])} {values[index]:.3f}" for index in largest)


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
