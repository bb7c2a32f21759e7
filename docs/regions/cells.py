"""How figures are written, and how the JSON files are read."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.report import table as report_table
from bench.results.document import Results
from bench.results.measurements import Machine

INSTRUCTIONS = {"avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "bf16", "amx_int8": "AMX"}

megabytes = report_table.megabytes
ratio = report_table.ratio


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Sequence[int] = (0,)) -> str:
    """A Markdown table. Numbers are aligned to the right; `text_columns`: the columns that hold text."""
    rule = ["---" if column in text_columns else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def bullets(sentences: Sequence[str]) -> str:
    """A Markdown list, its lines no longer than those of the documents."""
    return "\n".join(
        textwrap.fill(f"- {each}", 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for each in sentences
    )


def bold(cells: Sequence[str]) -> list[str]:
    """A row of a table in bold."""
    return [f"**{cell}**" for cell in cells]


def read_json(path: Path) -> Any:
    """A JSON file as plain values."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_results(path: Path) -> Results:
    """The results of a run or of a benchmark, as typed records."""
    return _adapter().validate_json(path.read_bytes())


@cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)


def machine_words(machine: Machine) -> str:
    """The processor and the two runtimes, such as "2 cores of an AMD EPYC (AVX-512 VNNI, bf16), onnxruntime 1.32.0"."""
    instructions = [words for name, words in INSTRUCTIONS.items() if name in machine.instructions]
    cpu = machine.cpu.replace("(R)", "").removesuffix(" Processor")
    article = "an" if cpu[0] in "AEIO" else "a"
    runtimes = " and ".join(f"{name} {machine.versions[name].partition('+')[0]}" for name in ("onnxruntime", "torch"))
    return f"{machine.usable_cores} cores of {article} {cpu} ({', '.join(instructions)}), {runtimes}"


def difference_cell(difference: Mapping[str, float]) -> str:
    """A difference with its interval. `difference`: value, low and high."""
    return f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"


def kept_cell(teacher: float, value: float, low: float, high: float) -> str:
    """The share of the teacher's score, with its interval. `value`, `low`, `high`: of the difference from it."""
    share, lowest, highest = ((teacher + each) / teacher for each in (value, low, high))
    return f"{share:.1%} ({lowest:.1%} to {highest:.1%})"


def minutes(seconds: float) -> str:
    """Seconds as whole minutes."""
    return f"{seconds / 60:.0f} minutes"


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
