"""Records exactly what was measured: digests of the models' files, of the texts and of our own code."""

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
    """SHA-256 digests in hex.

    `models`: of the names and contents of each contender's files, in the order of the contenders. `texts`: of the
    workload's texts and labels. `code`: of our own packages.
    """

    models: list[str]
    texts: str
    code: str


def digests(contenders: Sequence[Contender], workload: Workload) -> Digests:
    """Digests of the contenders, the workload and the code."""
    contender_by_path = {contender.path: contender for contender in contenders}
    digest_by_path = {path: sha256_of_all(files_of(contender)) for path, contender in contender_by_path.items()}
    rows = json.dumps([list(column) for column in (workload.texts, workload.pairs or (), workload.labels or ())])
    return Digests(
        models=[digest_by_path[contender.path] for contender in contenders],
        texts=hashlib.sha256(rows.encode()).hexdigest(),
        code=sha256_of_all(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")),
    )
