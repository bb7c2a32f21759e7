"""What exactly was measured: digests of the models' files, of the texts and of the code that measured them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.timing.systems import Contender, Workload, files_of
from compress.common.files import sha256_of_all

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("compress", "export", "bench", "pocketbert")


@dataclass(frozen=True, kw_only=True)
class Digests:
    """SHA-256, in hex. `models`: of each contender's files, their names and contents, in the order of the contenders;
    `texts`: of the workload; `code`: of our own packages.
    """

    models: list[str]
    texts: str
    code: str


def digests(contenders: Sequence[Contender], workload: Workload) -> Digests:
    """What the contenders and their workload are, to the byte."""
    one_of_each = {each.path: each for each in contenders}
    by_path = {path: sha256_of_all(files_of(each)) for path, each in one_of_each.items()}
    rows = json.dumps([list(column) for column in (workload.texts, workload.pairs or (), workload.labels or ())])
    return Digests(
        models=[by_path[each.path] for each in contenders],
        texts=hashlib.sha256(rows.encode()).hexdigest(),
        code=sha256_of_all(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")),
    )
