"""The parity ledger in words: what each step from torch to a shipped variant changed, and what forbids to ship one."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench import table
from compress.metrics import Metric, is_regression

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
STEPS = {"onnx": "torch, exported", "fused": "and fused"}
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


def cells(exported: Mapping[str, Any], metric: Metric) -> list[tuple[str, ...]]:
    """One tuple per step, in the order of HEADER. `exported`: what `export.candidates.build_candidates` gives."""
    return [(title, verdict.partition(":")[0], *_figures(found, metric)) for title, found, verdict in _steps(exported)]


def explained(exported: Mapping[str, Any], metric: Metric) -> list[tuple[str, list[str]]]:
    """Each variant with sentences on all that was found, under its name and verdict."""
    return [
        (f"{name}: {_verdict(exported, name)}", list(_sentences(facts, metric)))
        for name, facts in exported["variants"].items()
    ]


def _steps(exported: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    for name, found in exported["hops"].items():
        yield STEPS[name], found, "on the way"
    for name, facts in exported["variants"].items():
        yield name, facts["parity"], _verdict(exported, name)
        for provider, found in facts["other_providers"].items():
            yield f"{name}, {_short(provider)}", found, "-"


def _verdict(exported: Mapping[str, Any], name: str) -> str:
    failures = exported["variants"][name]["failures"]
    if failures:
        return f"failed: {'; '.join(failures)}"
    return "recommended" if exported.get("recommended") == name else "passed"


def _figures(found: Mapping[str, Any], metric: Metric) -> tuple[str, ...]:
    paired, company = found["paired"], found["company"]
    return (
        f"{found['metric']:.3f}",
        f"{paired['difference']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f})",
        table.label_flips(found, metric),
        f"{found['logit_error']:.2g}",
        f"{found['max_logit_error']:.2g}",
        f"{company['batch_shift']:.2g}",
        f"{company['padding_shift']:.2g}",
        f"{found['ran']['low_precision']:.0%}",
    )


def _sentences(facts: Mapping[str, Any], metric: Metric) -> Iterator[str]:
    found = facts["parity"]
    yield from (f"NOT GOOD ENOUGH: {reason}" for reason in facts["failures"])
    yield _about_score(found, metric)
    yield (
        f"logits: {found['mean_logit_error']:.2g} off in the mean, {found['logit_error']:.2g} of their spread; "
        f"{found['max_logit_error']:.2g} at most"
    )
    if not is_regression(metric):
        yield f"labels unlike torch's: {table.label_flips(found, metric)}"
    what = "the first such row" if found["num_label_flips"] else "the row furthest off"
    yield f"{what}: {_example(found['example'])}"
    yield _about_company(found["company"], metric)
    if found["company"]["example"]:
        yield f"the text that moves most: {_example(found['company']['example'])}"
    yield _about_runtime(found)
    for provider, other in facts["other_providers"].items():
        yield f"with {_short(provider)}: {_about_score(other, metric)}; {_about_runtime(other)}"
    if facts["without_vnni"]:
        yield _about_saturation(facts["without_vnni"])


def _about_score(found: Mapping[str, Any], metric: Metric) -> str:
    paired = found["paired"]
    certain = "significant" if paired["low"] > 0 or paired["high"] < 0 else "not significant"
    test = "" if paired["p_value"] is None else f", McNemar p {paired['p_value']:.2g}"
    return (
        f"{metric} {found['metric']:.4f}, torch {found['torch_metric']:.4f} on {found['num_rows']} rows: "
        f"{paired['difference']:+.4f} (95 % interval {paired['low']:+.4f} to {paired['high']:+.4f}{test}), {certain}"
    )


def _about_company(company: Mapping[str, Any], metric: Metric) -> str:
    shifts = f"{company['batch_shift']:.2g} in a mixed batch, {company['padding_shift']:.2g} with padding alone"
    if is_regression(metric):
        return f"a text's value in company moves, over the values' spread, by at most {shifts}"
    changed = f"{company['num_label_changes']} of {company['num_rows']} labels change"
    return f"a text's probabilities in company move by at most {shifts}; {changed}"


def _about_runtime(found: Mapping[str, Any]) -> str:
    ran = found["ran"]
    nodes = ", ".join(f"{count} nodes on {_short(name)}" for name, count in ran["nodes"].items())
    fused = ", ".join(f"{name} {count}" for name, count in ran["fused"].items())
    asked = "" if ran["provider"] == found["asked_for"] else f" ({_short(found['asked_for'])} WAS ASKED FOR)"
    return (
        f"ran: {nodes}{asked}; {ran['low_precision']:.1%} of the weights' multiplications in 16 bits or fewer; "
        f"fused: {fused or 'nothing'}"
    )


def _about_saturation(found: Mapping[str, Any]) -> str:
    if not found["num_rows"]:
        return "its byte products saturate on no processor: no two neighbouring weights are large enough"
    return (
        f"on an x86-64 processor without VNNI its byte products would saturate: logits would move by up to "
        f"{found['max_logit_shift']:.2g} and {found['num_label_changes']} of {found['num_rows']} labels change "
        "(emulated). There predict.py sets the session option session.x64quantprecision, which prevents it; so do if "
        "you load the model yourself, or export with reduce_range"
    )


def _example(found: Mapping[str, Any]) -> str:
    text = found["text"] if found["pair"] is None else f"{found['text']} | {found['pair']}"
    expected, got = (" ".join(f"{value:.3f}" for value in found[name]) for name in ("expected", "found"))
    return f"{text!r}: expected {expected}, got {got}"


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
