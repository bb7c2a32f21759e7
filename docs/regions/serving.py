"""Requests per second of servers, and a server under too much load, from the JSON files in results/serving."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.measurements import Machine
from regions.cells import bullets, machine_words, read_json, table

OURS = "pocketbert serve"


def _read(results: Path, name: str) -> Any:
    return read_json(results / "serving" / f"{name}.json")


def _range(values: Sequence[float], digits: str) -> str:
    middle = sorted(values)[len(values) // 2]
    return f"{middle:{digits}} ({min(values):{digits}}-{max(values):{digits}})"


def serving_machine(results: Path) -> str:
    """The processor and the runtimes."""
    return machine_words(TypeAdapter(Machine).validate_python(_read(results, "rates")["machine"]))


def serving_rates(results: Path) -> str:
    """The highest rate of each server: the median of the rounds and their range."""
    content = _read(results, "rates")
    ratios = content[f"ratio_of_{OURS}_to"]
    rows = [
        (name, _range(rates, ",.0f"), _range(ratios[name], ".2f")) for name, rates in content["highest_rate"].items()
    ]
    return table(("server", "requests/s", f"`{OURS}` is times as fast"), rows)


def serving_overload(results: Path) -> str:
    """What happened to the answers at half of the highest rate, at twice that rate, and afterwards."""
    content = _read(results, "overload")
    flood, memory = content["overload"], content["memory_mib"]
    sent = sum(each["sent"] for each in flood)
    statuses = [status for each in flood for status in each["statuses"]]
    answered = sum(each["statuses"].get("200", 0) for each in flood)
    checked, after = content["checked"], content["after"]
    growth = memory[-1] / memory[1] - 1
    return bullets(
        [
            f"{checked['sent']:,} requests at {checked['rate']:.0f} per second: {checked['statuses'].get('200', 0):,} "
            f"answers, {checked['wrong']} of them wrong, 99th percentile {checked['p99_ms']:.0f} ms.",
            f"{sent:,} requests at {flood[0]['rate']:.0f} per second: {answered / sent:.0%} answered, "
            f"{sum(each['wrong'] for each in flood)} wrong, the others refused; statuses "
            f"{', '.join(sorted(set(statuses)))}. Resident memory went from {memory[1]:.0f} to {memory[-1]:.0f} MiB "
            f"({growth:+.1%}) between the first and the last of {len(flood)} parts.",
            f"Afterwards, {after['rate']:.0f} per second: {after['statuses'].get('200', 0):,} of {after['sent']:,} "
            f"answered, 99th percentile {after['p99_ms']:.0f} ms.",
        ]
    )


def serving_clients(results: Path) -> str:
    """The answers that clients of other projects got, and what schemathesis found."""
    content = _read(results, "clients")
    rows = [
        (
            name,
            f"{each['answers']:,}",
            str(each["changed_labels"]),
            f"{each['largest_difference']:.1g}" if "largest_difference" in each else "-",
        )
        for name, each in content["clients"].items()
    ]
    found = content["schemathesis"]
    verdict = "no status 5xx and no wrong content" if not found["exit_code"] else "failures"
    return "\n".join(
        [
            table(("client", "answers", "other labels", "largest difference"), rows),
            "",
            *bullets([f"schemathesis on `/openapi.json`: {found['summary']}; {verdict}."]).splitlines(),
        ]
    )


REGIONS = {
    "serving-clients": serving_clients,
    "serving-machine": serving_machine,
    "serving-rates": serving_rates,
    "serving-overload": serving_overload,
}
