"""What the commands print on a terminal or into a pipe."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import ledger
from bench import table as bench_table
from bench.report import machine_lines
from pocketbert.pipeline import Outcome

PIPE_WIDTH = 140


def outcome(found: Outcome) -> None:
    """A run's table, and where to find what."""
    table(found.results)
    for bundle in sorted((found.folder / "bundles").glob("*")):
        path("bundle", bundle)
    path("report", found.folder / "report.html")
    path("figures", found.folder / "results.json")


def table(results: dict[str, Any]) -> None:
    """The benchmark's rows."""
    bench = results["stages"]["bench"]
    _table(bench_table.header(bench, bench_table.scored_rows(results)), bench_table.cells(bench))
    for row in bench["rows"]:
        if row["error"] and len(row["error"]) > bench_table.SHORT_REASON:
            _line(f"{row['name']} was not measured: {row['error']}")


def variants(found: dict[str, Any]) -> None:
    """What was exported, and how nearly each variant answers like torch."""
    lines = [
        (
            name,
            bench_table.megabytes(facts["size_bytes"]) if facts["bundle"] else "-",
            f"{facts['parity']['metric']:.3f}",
            f"{facts['parity']['torch_metric']:.3f}",
            bench_table.label_flips(facts["parity"], found["metric"]),
            facts["bundle"] or f"not written: {'; '.join(facts['failures'])}",
        )
        for name, facts in found["variants"].items()
    ]
    _table(("variant", "size", "score", "torch", "label flips", "bundle"), lines)


def explained(found: dict[str, Any]) -> None:
    """The parity ledger: its table, what each column means, and all that was found of each variant."""
    _table(ledger.HEADER, ledger.cells(found, found["metric"]))
    for what, meaning in ledger.MEANINGS:
        _line(f"{what}: {meaning}")
    for title, sentences in ledger.explained(found, found["metric"]):
        _line(f"\n{title}")
        for sentence in sentences:
            _line(f"  {sentence}")


def compared(found: dict[str, Any]) -> None:
    """Two runs, model by model."""
    _line(f"{found['names'][0]}, then {found['names'][1]}; times as fast: each against its own run's first row")
    _table(tuple(found["header"]), found["cells"])
    for remark in found["remarks"]:
        _line(remark)


def beside_paper(rows: Sequence[dict[str, Any]]) -> None:
    """Table 1's sizes and speeds, and those found here."""
    _line("TinyBERT's Table 1, and here: operations at 128 tokens; times as fast as BERT-base (on a K80; 1 x 128 here)")
    _table(
        ("shape", "parameters", "here", "operations", "here", "times as fast", "here"),
        [
            (
                row["name"],
                f"{row['paper']['parameters']} M",
                f"{row['parameters']:.1f} M",
                f"{row['paper']['operations']} G",
                f"{row['operations']:.1f} G",
                "-" if row["paper"]["times"] is None else f"{row['paper']['times']}",
                bench_table.ratio(row["times"]),
            )
            for row in rows
        ],
    )


def validity(found: dict[str, Any]) -> None:
    """A model against itself and a slower copy: how far this machine's ratios can be trusted."""
    for title, ratios in (("against itself", found["same"]), ("against the slower copy", found["slower"])):
        _line(f"{title}: {', '.join(map(bench_table.ratio, ratios))}")
    runs = len(found["same"])
    _line(
        f"{found['name']}: the 95 % intervals of {runs - found['missed_1']} of {runs} runs hold 1.00, their half-width "
        f"is {found['median_half_width']:.1%} in the median; a copy {found['planted_slowdown']:.0%} slower was found "
        f"in {found['found']} of {len(found['slower'])}"
    )


def training(found: dict[str, Any]) -> None:
    """The ladder of each stage."""
    for stage, facts in found["stages"].items():
        _line(
            f"{stage}: {found['num_rows']} rows of {facts['mean_tokens']:.0f} tokens on average, batches of "
            f"{facts['batch_size']}, {found['rounds']} rounds"
        )
        lines = [
            (
                row["name"],
                f"{row['examples_per_s']:.0f}",
                *(bench_table.ratio(row[name]) if name in row else "-" for name in ("against_a", "against_b")),
                "-" if row["input_share"] is None else f"{row['input_share']:.1%}",
                bench_table.megabytes(row["peak_rss_bytes"]),
            )
            if not row["error"]
            else (row["name"], row["error"], "-", "-", "-", "-")
            for row in facts["rows"]
        ]
        _table(("", "examples/s", "times plain", "times plain at its best", "input", "peak memory"), lines)


def augmentation(found: dict[str, Any]) -> None:
    """How fast each way of augmenting is, and the memory ours takes."""
    lines = [
        (
            row["name"],
            f"{row['ms_per_word']:.2f}",
            f"{row['ms_per_variant']:.2f}",
            *(
                bench_table.ratio(row[f"{baseline}_{what}"])
                for baseline in ("against_a", "against_b")
                for what in ("per_word", "per_variant")
            ),
            f"{row['other_candidates']} of {row['words']}" if "words" in row else "-",
        )
        for row in found["rows"]
    ]
    header = ("", "ms a word", "ms a variant", "a: per word", "per variant", "b: per word", "per variant", "other sets")
    _line(
        f"{found['num_texts']} texts in {found['rounds']} parts, {found['num_threads']} threads each; times as fast as "
        "one word at a time (a), and as the first scripts (b)"
    )
    _table(header, lines)
    for row in found["memory"]:
        _line(
            f"{row['texts']:,} texts, {row['rows']:,} rows written: peak memory "
            f"{bench_table.megabytes(row['peak_rss_bytes'])}, "
            f"{bench_table.megabytes(row['before_bytes'])} of it loaded before"
        )


def curves(found: dict[str, Any]) -> None:
    """Two runs' losses, and how many steps of the second each step of the first is worth."""
    first, second = (run["name"] for run in found["runs"])
    lines = [
        (
            str(line["step"]),
            f"{line['first']:.3f}",
            "-" if line["second"] is None else f"{line['second']:.3f}",
            str(line["steps_of_second"] or "not in its run"),
        )
        for line in found["lines"]
    ]
    _table((f"step of {found['stage']}", f"loss of {first}", f"loss of {second}", f"{second} needs, steps"), lines)


def augmented(found: dict[str, Any]) -> None:
    """Examples of variants, the replaced words marked, and what became of all words."""
    for example in found["examples"]:
        _line(f"row {example['row']}{_which(example)}  {example['original']}")
        marked = Text("  ")
        end_of_last = 0
        for each in example["replaced"]:
            marked.append(example["text"][end_of_last : each["start"]])
            marked.append(f"[{example['text'][each['start'] : each['end']]}]", style="bold")
            end_of_last = each["end"]
        marked.append(example["text"][end_of_last:])
        Console(highlight=False, soft_wrap=True).print(marked)
        sources = ", ".join(f"{each['was']} ({each['source']})" for each in example["replaced"])
        _line(f"  instead of {sources}")
    for what, value in found["told"]:
        _line(f"{what + ':':<28}{value}")
    path("rows", Path(found["folder"]))


def _which(example: dict[str, Any]) -> str:
    return {-1: "", 0: ", first text" if example["takes_pairs"] else "", 1: ", second text"}[example["varied"]]


def plan(found: dict[str, Any]) -> None:
    """The resolved plan of a recipe."""
    rows, tokens = found["rows"], found["tokens"]
    labels = ", ".join(found["labels"]) if len(found["labels"]) > 1 else "a number per text"
    _line(f"{found['name']}: {rows['train']} train, {rows['dev']} dev, {rows['test']} test rows; {labels}")
    for remark in found["remarks"]:
        _line(f"  {remark}")
    _line(
        f"  texts: {tokens['median']:.0f} tokens in the median, {tokens['longest']} at most; "
        f"{tokens['share_cut']:.1%} are cut at {tokens['max_length']}"
    )
    for who in ("teacher", "student"):
        model = found[who]
        _line(
            f"{who}: {model['layers']} layers x {model['width']}, {model['heads']} heads, "
            f"{model['parameters'] / 1e6:.1f} M parameters ({model['name']})"
        )
    lines = [
        (stage["name"], stage["state"], str(stage["steps"] or "-"), duration(stage["estimated_s"]))
        for stage in found["stages"]
    ]
    _table(("stage", "state", "steps", "about"), lines)
    _line(f"in all about {duration(sum(stage['estimated_s'] for stage in found['stages']))} on this machine")
    _line(f"variants: {', '.join(found['variants'])}; must be good enough: {', '.join(found['gate']) or 'none'}")
    path("run folder", Path(found["folder"]))


def machine(found: dict[str, Any]) -> None:
    """What `pocketbert doctor` found."""
    for what, value in machine_lines(found):
        _line(f"{what + ':':<14}{value}")
    _line(f"{'int8:':<14}{'in hardware' if found['int8_in_hardware'] else 'no dot product in hardware'}")
    _line(f"{'torch:':<14}{found['torch_threads']} threads, CUDA {'yes' if found['torch_cuda'] else 'no'}")
    _line(f"{'onnxruntime:':<14}{', '.join(found['providers']) or 'not installed'}")
    for place, free in found["free_disk_bytes"].items():
        _line(f"{'free disk:':<14}{free / 1e9:.0f} GB at {place}")
    _line(f"{'pocketbert:':<14}{found['pocketbert']}")
    for problem in found["problems"]:
        _line(f"problem: {problem}")
    if not found["problems"]:
        _line("no problems found")


def path(what: str, place: Path) -> None:
    """A file or folder, on one line whatever its length."""
    _line(f"{what:<11}{place}")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        made.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for cells in lines:
        made.add_row(*map(Text, cells))  # not as markup
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(made)


def _line(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
