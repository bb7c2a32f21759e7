"""The results of an ablation on disk: one JSON file per student, written when the student is finished."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from compress.common.errors import UserError, first_invalid
from compress.common.owned_files import OwnedFolder, is_regular
from compress.reading.json_files import read_json_object
from compress.results import SplitScores
from pocketbert import __version__
from pocketbert.ablation.trainings import Training

ROWS = "rows"  # the folder of the files
ADVICE = "move it away to train this student again"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished student.

    `changes`: `pocketbert run RECIPE` makes the same student with them after `--set`. `predictions`: for dev and test,
    in the form of the labels. `stages`: the fingerprint of each stage. `seconds`: that each stage took when it ran;
    equal stages run once. `cpu`: of the machine.
    """

    identity: str
    seed: int
    changes: list[str]
    scores: SplitScores
    teacher_scores: SplitScores
    num_steps: dict[str, int]
    num_parameters: int
    predictions: dict[str, list[int] | list[float] | list[list[int]]]
    stages: dict[str, str]
    seconds: dict[str, float]
    version: str
    cpu: str

    def predicted(self, split: str) -> np.ndarray:
        """The predictions on a split, in the form of the labels."""
        return np.array(self.predictions[split])


@cache
def _row() -> TypeAdapter[Row]:
    return TypeAdapter(Row)


def file_of(training: Training) -> str:
    """The path of a student's row in the folder of an ablation."""
    return f"{ROWS}/{training.key}.json"


def write_row(owned: OwnedFolder, training: Training, row: Row) -> None:
    """Write the row of a student."""
    owned.write_text(file_of(training), json.dumps(to_jsonable_python(row)) + "\n")


def read_row(path: Path, training: Training) -> Row | None:
    """The row of a student; None if there is no file. Raises UserError for a damaged file, or another student's."""
    if not is_regular(path):
        return None
    content = read_json_object(path, problem="not the result of a student", advice=ADVICE)
    try:
        row = _row().validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: not the result of a student ({first_invalid(error)}); {ADVICE}") from error
    if row.identity != training.identity:
        raise UserError(f"{path}: the result of another student; {ADVICE}")
    return row


def read_rows(folder: Path, trainings: Iterable[Training]) -> dict[str, Row]:
    """The finished students of a folder, by identity."""
    rows = {each.identity: read_row(folder / file_of(each), each) for each in trainings}
    return {identity: row for identity, row in rows.items() if row is not None}


def version_of(folders: Iterable[Path]) -> str:
    """The version that trained the students of these folders: this one, if any are of it or there are none.

    Raises UserError if there are several other versions.
    """
    files = [file for folder in folders for file in (folder / ROWS).glob("*.json") if is_regular(file)]
    contents = [read_json_object(file, problem="not the result of a student", advice=ADVICE) for file in files]
    versions = {str(content["version"]) for content in contents if "version" in content} or {__version__}
    if __version__ not in versions and len(versions) > 1:
        raise UserError(f"the students are of the versions {', '.join(sorted(versions))}; expected one of them")
    return __version__ if __version__ in versions else versions.pop()


def merge_rows(owned: OwnedFolder, folders: Iterable[Path], trainings: Iterable[Training]) -> int:
    """Copy the rows of other folders that this one lacks. Returns how many. Raises UserError if a folder has none."""
    planned, num_copied = list(trainings), 0
    for folder in folders:
        if not (folder / ROWS).is_dir():
            raise UserError(f"{folder}: no folder of an ablation; expected a folder {ROWS} in it")
        found = read_rows(folder, planned)
        if not found:
            raise UserError(
                f"{folder}: none of its students belongs to this ablation; expected one of the same recipe, data, "
                "changes, seeds, precision and version"
            )
        for training in planned:
            if training.identity in found and not is_regular(owned.folder / file_of(training)):
                write_row(owned, training, found[training.identity])
                num_copied += 1
    return num_copied
