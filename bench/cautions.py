"""What a reader of the figures should know before believing them: in plain words, with the figure and the advice."""

from collections.abc import Iterator
from typing import Any

from bench import machine, noise, table
from bench.stats import FEWEST
from export.operators import ATTENTIONS

FEW_ROWS = 1000
LITTLE_ABOVE = 0.05
WIDE_INTERVAL = 0.25
MORE_CORES = 0.3  # busy than there are threads: what no measuring error explains


def cautions(results: dict[str, Any]) -> list[str]:
    """One sentence or two for each reason to doubt; empty when there is none. `results`: as in results.json."""
    bench = results["stages"]["bench"]
    return [
        *_about_rows(results),
        *_about_scores(results),
        *_about_fairness(bench),
        *_about_noise(bench),
        *_about_speed(bench),
        *_about_load(bench),
        *_about_what_ran(bench),
        *_about_variants(results),
    ]


def _about_rows(results: dict[str, Any]) -> Iterator[str]:
    if results.get("smoke"):
        yield "This was a smoke run, a few rows and steps: it shows that the recipe runs, and says nothing of quality."
    if results.get("selected_on_test"):
        yield (
            "There were too few rows for a test split: the scores are of the rows that chose the checkpoints, and so "
            "a little too good. Name a test split, or gather more rows."
        )
    num_rows = table.num_scored_rows(results)
    if num_rows is not None and num_rows < FEW_ROWS and results["metric"] == "accuracy":
        yield (
            f"The scores are of {num_rows} rows, so each is known to about {50 / num_rows**0.5 * 1.96:.0f} points: "
            "smaller differences may be chance."
        )


def _about_scores(results: dict[str, Any]) -> Iterator[str]:
    common, best = results.get("most_common_label"), _best_accuracy(results)
    if common is not None and best is not None and best < common + LITTLE_ABOVE:
        yield (
            f"Always answering the most common label would score {common:.3f}, the best model here {best:.3f}: the "
            "task is hardly learned. More data, a better teacher, or another metric (matthews, f1) would tell more."
        )
    rows = {row["name"]: row for row in results["stages"]["bench"]["rows"] if row["score"] is not None}
    floor = next((row for row in rows.values() if row["kind"] == "tfidf"), None)
    if floor is None:
        return
    teacher = next(iter(rows.values()))
    if teacher is not floor and teacher["score"] <= floor["score"]:
        yield (
            f"The teacher ({teacher['score']:.3f}) is no better than {floor['name']} ({floor['score']:.3f}): a student "
            "cannot be expected to be. Look at the data and at how the teacher was fine-tuned."
        )
    beaten = [row for row in rows.values() if row["kind"] == "onnxruntime" and row["score"] <= floor["score"]]
    if beaten:
        yield (
            f"{floor['name']} ({floor['score']:.3f}) does as well as {beaten[0]['name']} ({beaten[0]['score']:.3f}): "
            "a linear model may be all that this task needs."
        )


def _best_accuracy(results: dict[str, Any]) -> float | None:
    if results["metric"] != "accuracy":
        return None
    scores = [row["score"] for row in results["stages"]["bench"]["rows"] if row["score"] is not None]
    return max(scores, default=None)


def _about_fairness(bench: dict[str, Any]) -> Iterator[str]:
    """Whether all had the same: as read back from each process at the end."""
    rows = [row for row in bench["rows"] if row["facts"]]
    for what, name in (("threads", "num_threads"), ("the priority", "priority"), ("cores", "cores")):
        found = {row["name"]: row["facts"].get(name) for row in rows if row["facts"].get(name) is not None}
        if len(set(found.values())) > 1:
            most = max(found.values(), key=list(found.values()).count)
            other = next(who for who in found if found[who] != most)
            yield (
                f"UNFAIR: {other} ran with {what} {found[other]}, the others with {most}: their times can't be "
                "compared. Look for what sets it (an environment variable, a wrapper), and measure again."
            )
    allowed = bench["protocol"]["num_threads"]
    for row in rows:
        if row["cores_used"] is not None and row["cores_used"] > allowed + MORE_CORES:
            yield (
                f"UNFAIR: {row['name']} kept {row['cores_used']:.1f} cores busy, and was given {allowed} "
                f"thread{'s' * (allowed > 1)}: it has threads of its own. Its times can't be compared."
            )


def _about_noise(bench: dict[str, Any]) -> Iterator[str]:
    heard, cores = bench["noise"], bench["machine"]["usable_cores"]
    advice = "ratios, which are paired, hold better than milliseconds. Measure again when it is quiet."
    if heard["busy_cores"] > noise.BUSY_CORES:
        yield (
            f"Other work ran on this machine ({heard['busy_cores']:.1f} of its {cores} cores were busy before the "
            f"benchmark began): {advice}"
        )
    if heard["stolen"] > noise.STOLEN:
        yield f"The hypervisor gave {heard['stolen']:.0%} of the cores' time to others: {advice}"
    if heard["throttled"]:
        yield f"The processor was held back {heard['throttled']} times, by its quota or by heat: {advice}"
    governor = bench["machine"]["settings"]["governor"]
    if governor not in (None, "performance"):
        yield f"The frequency governor is {governor}: set it to performance, or milliseconds will wander."


def _about_speed(bench: dict[str, Any]) -> Iterator[str]:
    twice = bench["same_twice"]
    if twice is not None and not twice["is_valid"]:
        yield (
            f"INVALID: {twice['name']} against itself came out {table.ratio(twice['ratio'])} times as fast, not 1.00: "
            "this machine was too unsteady, and no ratio here can be trusted. Measure again when it is quiet."
        )
    for row in bench["rows"]:
        ratio = row["texts_ratio"]
        if ratio and (ratio["high"] - ratio["low"]) / 2 > WIDE_INTERVAL * ratio["value"]:
            yield f"The speed of {row['name']} is uncertain ({table.ratio(ratio)}): measure with more rounds."
    calls = min((row["texts"]["n"] for row in bench["rows"] if row["texts"]), default=None)
    if calls is not None and calls < (needed := max(FEWEST.values())):
        yield f"{calls} calls show no 99th percentile, for which {needed} are needed: measure with more rounds."
    for row in bench["rows"]:
        if row["error"]:
            yield f"{row['name']} was not measured: {row['error']}."


def _about_what_ran(bench: dict[str, Any]) -> Iterator[str]:
    """Whether the runtime did with each bundle what was meant."""
    for row in bench["rows"]:
        ran = (row["facts"] or {}).get("ran")
        if ran is None:
            continue
        wanted = row["facts"]["ran_on"]
        elsewhere = sum(count for provider, count in ran["nodes"].items() if provider != wanted)
        if elsewhere:
            yield (
                f"{row['name']}: {elsewhere} of {sum(ran['nodes'].values())} nodes did not run on {wanted} but on "
                f"{', '.join(provider for provider in ran['nodes'] if provider != wanted)}: its speed is not that of "
                f"{wanted}. Look at the installed onnxruntime (`pocketbert doctor`)."
            )
        if not set(ATTENTIONS) & set(ran["fused"]):
            yield (
                f"{row['name']}: no attention of it is fused, in {sum(ran['nodes'].values())} nodes: it is slower than "
                "it could be. Export the model again with `pocketbert export`."
            )


def _about_load(bench: dict[str, Any]) -> Iterator[str]:
    load, cores = bench["load"], bench["machine"]["usable_cores"]
    if load is not None and load["processes"] * load["num_threads"] > cores:
        fitting = machine.threads_for(load["processes"], cores)
        yield (
            f"Under load {load['processes']} processes of {load['num_threads']} threads each shared {cores} cores and "
            f"waited for one another: with --threads {fitting} they will bear far more."
        )


def _about_variants(results: dict[str, Any]) -> Iterator[str]:
    variants = results["stages"].get("export", {}).get("variants", {})
    here = results["stages"]["bench"]["machine"]
    for name, facts in variants.items():
        shift = max(facts["parity"]["company"][name] for name in ("batch_shift", "padding_shift"))
        if shift > 1e-3:
            yield (
                f"An answer of {name} depends on the texts beside it in a batch: probabilities moved by up to "
                f"{shift:.2g}. predict.py runs texts one by one; do the same where you load the model yourself."
            )
        if name.startswith("fp16") and facts["parity"]["ran"]["low_precision"] < 1:
            yield (
                f"{name} is made for GPUs: on this processor the runtime computes it in fp32, so that its speed and "
                "accuracy here are not those of fp16."
            )
    quantised = [name for name in variants if name.startswith("int")]
    if quantised and not machine.has_int8_dot_product(here):
        yield (
            f"This processor has no int8 dot product: on one that has (VNNI, AMX, DOTPROD), {', '.join(quantised)} "
            "will be faster. Measure where it will serve."
        )
