"""The report: results.json in, one self-contained HTML file and a Markdown file out."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench import augmented, ledger, plots, table
from bench.cautions import cautions
from bench.schema import FORMAT_VERSION
from bench.sections import as_markdown, sections
from compress.errors import UserError
from compress.files import write_text
from compress.metrics import Metric

MOST_SCORES_SHOWN = 8


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a run or benchmark. Raises UserError where there is none that this version can show."""
    path = folder / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        found = results["format_version"]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a run writes it when its last stage is done") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no readable results ({type(error).__name__}: {error}); run the recipe again"
        ) from error
    if found != FORMAT_VERSION:
        raise UserError(
            f"{path}: got format version {found}, expected {FORMAT_VERSION}; use the PocketBERT that wrote it"
        )
    return results


def rewrite_reports(folder: Path) -> None:
    """The reports of a run or benchmark anew. Raises UserError where its results.json is not whole."""
    results = read_results(folder)
    try:
        write_reports(results, folder)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise UserError(
            f"{folder / 'results.json'}: a part is missing or not as it was written ({type(error).__name__}: {error}); "
            "run the recipe again"
        ) from error


def write_reports(results: dict[str, Any], folder: Path) -> None:
    """Write report.html and report.md of a run (or of a benchmark alone) into `folder`."""
    shown = _shown(results)
    environment = Environment(
        loader=PackageLoader("bench"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.j2").render(shown)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", _markdown(shown))


def _shown(results: dict[str, Any]) -> dict[str, Any]:
    """Everything the templates show, as text."""
    stages = results["stages"]
    bench = stages["bench"]
    split = table.scored_rows(results)
    trained = {name: facts for name, facts in stages.items() if facts.get("history")}
    return {
        "name": results["name"],
        "rows": results.get("rows"),
        "metric": results["metric"],
        "cautions": cautions(results),
        "remarks": results.get("remarks", []),
        "gate": results.get("gate", []),
        "tiles": _tiles(stages, bench),
        "how": _how(bench),
        "header": table.header(bench, split),
        "cells": table.cells(bench),
        "scatter": plots.accuracy_against_latency(bench),
        "sections": sections(bench, _recommended(stages)),
        "parity": _parity(stages["export"], results["metric"]) if "export" in stages else None,
        "curves": [plots.loss_curve(facts["history"], name) for name, facts in trained.items()],
        "training": [_training(name, facts) for name, facts in trained.items()],
        "after_stages": _after_stages(results),
        "augmented": augmented.told(stages),
        "machine": [*machine_lines(bench["machine"]), ("SHA-256", _hashes(bench["hashes"]))],
        "shipped": _shipped(stages),
        "use": _use(stages, results.get("takes_pairs", False)),
        "reproduce": results.get("reproduce"),
    }


def _tiles(stages: dict[str, Any], bench: dict[str, Any]) -> list[dict[str, str]]:
    """The headline: the recommended variant against the teacher in torch."""
    teacher, best = bench["rows"][0], _timed_on_first_device(stages).get(_recommended(stages) or "")
    if best is None:
        return []
    tiles = [
        {"figure": f"x {best['texts_ratio']['value']:.1f}", "what": "as fast as the teacher"},
        {"figure": f"x {teacher['size_bytes'] / best['size_bytes']:.1f}", "what": "smaller on disk"},
        {"figure": table.megabytes(best["size_bytes"]), "what": best["name"]},
    ]
    if best["score"] is not None and teacher["score"]:
        kept = {"figure": f"{best['score'] / teacher['score']:.1%}", "what": f"of the teacher's {bench['metric']} kept"}
        tiles.insert(0, kept)
    return tiles


def _shipped(stages: dict[str, Any]) -> list[str]:
    """The variants that passed, and so lie in bundles/."""
    return [name for name, facts in stages.get("export", {}).get("variants", {}).items() if not facts["failures"]]


def _recommended(stages: dict[str, Any]) -> str | None:
    """The variant to take: the recommended one; where nothing was timed, the first that passed."""
    return stages.get("export", {}).get("recommended") or next(iter(_shipped(stages)), None)


def _timed_on_first_device(stages: dict[str, Any]) -> dict[str, Any]:
    """The benchmark's rows of the variants, on the device of the teacher's row."""
    rows = stages["bench"]["rows"]
    return {
        variant: row
        for variant in stages.get("export", {}).get("variants", {})
        for row in rows
        if row["device"] == rows[0]["device"] and row["texts_ratio"] and row["name"].startswith(f"student {variant},")
    }


def _use(stages: dict[str, Any], takes_pairs: bool) -> list[str]:
    """Commands that try the recommended variant, from the folder of the report."""
    chosen = _recommended(stages)
    if chosen is None:
        return []
    bundle = f"bundles/{chosen}"
    texts = '"a text" --pair "another text"' if takes_pairs else '"a text"'
    return [
        "pip install numpy onnxruntime tokenizers",
        f"python {bundle}/predict.py {texts}",
        f"python {bundle}/predict.py < lines.txt > answers.jsonl",
        f"pocketbert verify {bundle}",
    ]


def _how(bench: dict[str, Any]) -> str:
    protocol, twice, first = bench["protocol"], bench["same_twice"], bench["rows"][0]["texts"]
    if protocol["restart_every"] < protocol["rounds"]:
        restarts = f"after every {protocol['restart_every']} of {protocol['rounds']} rounds each goes on in a new one"
        over = "processes"
    else:
        restarts, over = "each in one process throughout", "visits (what another process would change is left out)"
    itself = f" {twice['name']} against itself: {table.ratio(twice['ratio'])}." if twice else ""
    return (
        f"Text to label at batch 1 on the task's own lengths: tokenise, run, pick the label. Every model in a process "
        f"of its own, {protocol['num_threads']} threads each, visited in turn in random order for "
        f"{protocol['texts_per_visit']} texts, {first['n'] if first else 0} calls in all; {restarts}. Times as fast: "
        f"against the first row of the device, paired by visit, with the 95 % interval over the {over}.{itself} "
        f"Texts/s: with {protocol['throughput_texts']} at hand."
    )


def _parity(exported: dict[str, Any], metric: Metric) -> dict[str, Any]:
    return {
        "header": ledger.HEADER,
        "cells": ledger.cells(exported, metric),
        "meanings": ledger.MEANINGS,
        "explained": ledger.explained(exported, metric),
    }


def _training(name: str, facts: dict[str, Any]) -> tuple[str, ...]:
    scores = _scores(facts["dev_scores"])
    if name == "masked_lm":
        scores += " (top 1, held-out text)"
    if facts.get("best_epoch") == 0:
        scores += " (none as good as before: kept as it was)"
    cut_off = f" from step {facts['resumed_at_step']} on" if facts["resumed_at_step"] else ""
    return (name, str(facts["num_steps"]), f"{facts['seconds']:.0f} s{cut_off}", scores)


def _scores(each_epoch: list[float]) -> str:
    """One after another; of many the first, the best and the last."""
    if len(each_epoch) <= MOST_SCORES_SHOWN:
        return " ".join(f"{score:.3f}" for score in each_epoch) or "-"
    best = max(each_epoch)
    return (
        f"{each_epoch[0]:.3f} ... {best:.3f} (epoch {each_epoch.index(best) + 1}) ... {each_epoch[-1]:.3f} "
        f"({len(each_epoch)} epochs)"
    )


def _after_stages(results: dict[str, Any]) -> dict[str, Any]:
    """Teacher, and student after each stage: the metric on dev and test, under their names where they have their own.

    (MNLI: chosen on the matched dev rows, the mismatched ones told beside them.)
    """
    stages, names = results["stages"], results.get("split_names", {})
    intermediate, prediction = stages.get("intermediate", {}), stages.get("prediction", {})
    first = "after general distillation" if "general" in stages else "as it came"
    told = [
        ("teacher", stages.get("teacher", {}).get("scores")),
        (f"student {first}, under the teacher's head", intermediate.get("scores_before")),
        ("student after the intermediate stage, under the teacher's head", intermediate.get("scores")),
        ("student after the prediction stage", prediction.get("scores")),
    ]
    splits = ["dev"] if results.get("selected_on_test") else ["dev", "test"]
    called = [f"{split} ({names[split]})" if split in names else split for split in splits]
    return {
        "header": (results["metric"], *called),
        "cells": [(who, *(f"{scores[split]:.3f}" for split in splits)) for who, scores in told if scores],
    }


def machine_lines(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """What `bench.machine.describe` found, in words."""
    gpu = machine["gpu"]
    return [
        ("processor", f"{machine['cpu']}, {machine['usable_cores']} of {machine['logical_cores']} logical cores"),
        ("instructions", ", ".join(machine["instructions"]) or "-"),
        ("memory", f"{machine['memory_bytes'] / 2**30:.0f} GiB"),
        ("GPU", ", ".join(gpu.values()) if gpu else "no CUDA device"),
        ("system", f"{machine['system']}, Python {machine['python']}, load average {machine['load_average']}"),
        ("settings", _settings(machine["settings"])),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())),
    ]


def _hashes(hashes: dict[str, Any]) -> str:
    return f"texts {hashes['texts'][:12]}, code {hashes['code'][:12]}; of each model, and in full, in results.json"


def _settings(settings: dict[str, Any]) -> str:
    quota = settings["quota_cores"]
    return (
        f"frequency governor {settings['governor'] or 'not told'}, quota {f'{quota:g} cores' if quota else 'none'}, "
        f"{settings['physical_cores'] or '?'} physical cores, SMT {settings['smt'] or 'not told'}"
    )


def _markdown(shown: dict[str, Any]) -> str:
    parts = [f"# {shown['name']}", *(f"**{tile['figure']}** {tile['what']}  " for tile in shown["tiles"])]
    if shown["gate"]:
        parts += ["## Not shipped", *(f"- {line}" for line in shown["gate"])]
    if shown["cautions"]:
        parts += ["## Before you believe it", *(f"- {line}" for line in shown["cautions"])]
    if shown["remarks"]:
        parts += ["## About the data", *(f"- {line}" for line in shown["remarks"])]
    parts += ["## Side by side", shown["how"], "", table.markdown(shown["header"], shown["cells"])]
    parts += as_markdown(shown["sections"])
    if shown["parity"]:
        parity = shown["parity"]
        parts += ["## Exported variants against the torch student", "", table.markdown(**_as_markdown(parity)), ""]
        parts += [f"- {what}: {meaning}" for what, meaning in parity["meanings"]]
        for title, sentences in parity["explained"]:
            parts += ["", f"**{title}**", "", *(f"- {sentence}" for sentence in sentences)]
    if shown["training"]:
        header = ("stage", "steps", "time", f"{shown['metric']} on dev, each epoch")
        parts += ["## Training", "", table.markdown(header, shown["training"])]
        if shown["after_stages"]["cells"]:
            parts += ["", table.markdown(**_as_markdown(shown["after_stages"]))]
    if shown["augmented"]:
        parts += ["## Data augmentation", "", *(f"- {what}: {value}" for what, value in shown["augmented"])]
    if shown["shipped"]:
        parts += ["## Use it", "", "```", *shown["use"], "```"]
    if shown["reproduce"]:
        parts += ["## Make it again", shown["reproduce"]["words"], "", "```", shown["reproduce"]["command"], "```"]
        if shown["reproduce"]["recipe"]:
            parts += ["", "```yaml", shown["reproduce"]["recipe"].rstrip(), "```"]
    parts += ["## Measured on", *(f"- {what}: {value}" for what, value in shown["machine"])]
    return "\n".join(parts) + "\n"


def _as_markdown(part: dict[str, Any]) -> dict[str, Any]:
    return {"header": part["header"], "rows": part["cells"]}
