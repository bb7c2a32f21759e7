"""What a reader of the figures should know before believing them: in plain words, with the figure and the advice."""

from collections.abc import Iterator
from typing import Any

from bench import machine, table

FEW_ROWS = 1000
LITTLE_ABOVE = 0.05
WIDE_INTERVAL = 0.25


def cautions(results: dict[str, Any]) -> list[str]:
    """One sentence or two for each reason to doubt; empty when there is none. `results`: as in results.json."""
    return [*_about_rows(results), *_about_scores(results), *_about_speed(results), *_about_variants(results)]


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


def _about_speed(results: dict[str, Any]) -> Iterator[str]:
    bench = results["stages"]["bench"]
    here = bench["machine"]
    if here["load_average"] > here["usable_cores"] / 2:
        yield (
            f"Other work ran on this machine (load average {here['load_average']} on {here['usable_cores']} cores): "
            "ratios, which are paired, hold better than milliseconds. Measure again when it is quiet."
        )
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
    for row in bench["rows"]:
        if row["error"]:
            yield f"{row['name']} was not measured: {row['error']}."
    if here["gpu"] is None:
        yield "There was no CUDA device: nothing here says how fast anything is on a GPU."


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
