"""The state of a stage in a run folder and in the cache: what is finished, and what was begun."""

from pathlib import Path

from compress.common.files import sha256
from compress.common.owned_files import is_regular
from pocketbert.store.manifest import Name, StagePlan, StageRecord, read_manifest, read_record
from pocketbert.store.stage_cache import entry_of
from pocketbert.store.working_folder import FINGERPRINT, PARTIAL

TO_DO = ("to do", "begun")  # states of a stage that a run still has to do


def recorded_seconds(folder: Path, stage: str) -> float | None:
    """The seconds that a stage took the last time a run did it in this folder, with any options; None if never."""
    record = read_manifest(folder).get(stage)
    return None if record is None else record.seconds


def state_of(stage: StagePlan[Name], folder: Path) -> str:
    """The state of a stage in a run folder: "done", "in the cache", "begun" or "to do"."""
    record = read_manifest(folder).get(stage.name)
    if record is not None and record.fingerprint == stage.fingerprint and not first_change(folder / stage.name, record):
        return "done"
    partial = folder / PARTIAL / stage.name
    if stage.shared:
        entry = entry_of(stage.name, stage.fingerprint)
        record, partial = read_record(entry.proof), entry.partial
        if record is not None and record.fingerprint == stage.fingerprint and not first_change(entry.folder, record):
            return "in the cache"
    mark = partial / FINGERPRINT
    return "begun" if is_regular(mark) and mark.read_text(errors="replace") == stage.fingerprint else "to do"


def steps_done(stage: StagePlan[Name], folder: Path) -> int:
    """The optimiser steps of an interrupted stage up to its latest complete checkpoint; 0 if there is none."""
    partial = folder / PARTIAL / stage.name
    if stage.shared:
        partial = entry_of(stage.name, stage.fingerprint).partial
    marks = partial.glob("checkpoints/checkpoint-*/complete")
    return max((int(mark.parent.name.rpartition("-")[2]) for mark in marks), default=0)


def first_change(folder: Path, record: StageRecord) -> str | None:
    """The first file that differs from its record; None if none does."""
    for name, digest in record.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            return name
    return None
