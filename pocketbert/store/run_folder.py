"""The run folder: finished stages are skipped, as their fingerprints prove, and interrupted ones are resumed."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic_core import to_jsonable_python
from rich.markup import escape

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import files_in, sha256, write_json
from pocketbert.store.manifest import (
    Name,
    StagePlan,
    StageRecord,
    first_difference,
    read_manifest,
    read_record,
    write_manifest,
)
from pocketbert.store.workspace import Workspace

PARTIAL = ".partial"
TO_DO = ("to do", "begun")  # states of a stage that a run still has to do

Build = Callable[[Workspace], object]


def cache_folder() -> Path:
    """The folder for results that several runs can share: $POCKETBERT_CACHE, or ~/.cache/pocketbert."""
    return Path(os.getenv("POCKETBERT_CACHE") or Path.home() / ".cache" / "pocketbert")


class Run:
    """A run folder in use. As a context manager, it locks the folder."""

    def __init__(self, folder: Path, *, versions: Mapping[str, str], announce: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self.versions = dict(versions)
        self.announce = announce
        self.num_built = 0
        self.records: dict[str, StageRecord] = {}
        self._follows = not distributed.is_main()
        self._lock = FileLock(self.folder / ".lock")

    def __enter__(self) -> "Run":
        if self._follows:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        holder = self.folder / ".pid"
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            pid = holder.read_text().strip() if holder.exists() else "unknown"
            raise UserError(
                f"{self.folder}: another run works in this folder (process {pid}); wait for it or stop it"
            ) from None
        try:
            self.records = read_manifest(self.folder)
        except UserError:
            self._lock.release()
            raise
        holder.write_text(f"{os.getpid()}\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._follows:
            return
        (self.folder / ".pid").unlink(missing_ok=True)
        self._lock.release()

    def stage(self, stage: StagePlan[Name], build: Build) -> StageRecord:
        """Do a stage, unless the manifest and the files prove that it is finished.

        With several processes, the main one decides, and all of them build.
        """
        if self._follows:
            return _follow(build)
        return distributed.broadcast_from_main(self._do(stage, build))

    def _do(self, stage: StagePlan[Name], build: Build) -> StageRecord:
        name, fingerprint = stage.name, stage.fingerprint
        record = self.records.get(name)
        target, reason = self.folder / name, None
        if record is not None and record.fingerprint == fingerprint:
            changed = _first_change(target, record)
            if changed is None:
                self.announce(f"[dim]{name}: already done[/dim]")
                return record
            reason = f"{changed} was changed or removed"
        elif record is not None:
            reason = first_difference(record.inputs, stage.inputs)
        if stage.shared:
            record = self._shared(stage, build, reason)
        else:
            record = self._build(stage, build, target, self.folder / PARTIAL / name, reason)
        self.records[name] = record
        write_manifest(self.folder, self.records)
        shutil.rmtree(self.folder / PARTIAL / name, ignore_errors=True)
        return record

    def _shared(self, stage: StagePlan[Name], build: Build, reason: str | None) -> StageRecord:
        name, fingerprint = stage.name, stage.fingerprint
        entry, proof = _in_cache(name, fingerprint)
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(entry.with_suffix(".lock"))
        with _waiting_for(lock, lambda: self.announce(f"{name}: waiting for another run, which does this stage")):
            record = read_record(proof)
            if record is None or record.fingerprint != fingerprint or _first_change(entry, record):
                partial = entry.with_suffix(".partial")
                record = self._build(stage, build, entry, partial, reason)
                write_json(proof, asdict(record))
                shutil.rmtree(partial, ignore_errors=True)
            else:
                self.announce(f"[dim]{name}: taken from the cache[/dim]")
        _remove(self.folder / name)
        (self.folder / name).symlink_to(entry, target_is_directory=True)
        return record

    def _build(
        self, stage: StagePlan[Name], build: Build, target: Path, partial: Path, reason: str | None
    ) -> StageRecord:
        """Build in `partial`, then move the result to the target. Removes checkpoints of another fingerprint.

        `reason`: why a finished stage runs again.
        """
        self.num_built += 1
        if reason is not None:
            self.announce(f"{stage.name}: rerunning: {escape(reason)}")
        fingerprint_file = partial / "fingerprint"
        if not fingerprint_file.exists() or fingerprint_file.read_text() != stage.fingerprint:
            _remove(partial)
            partial.mkdir(parents=True)
            fingerprint_file.write_text(stage.fingerprint)
        output = partial / "output"
        _remove(output)
        output.mkdir()
        self.announce(f"[bold]{stage.name}[/bold]")
        started = time.perf_counter()
        result = build(distributed.broadcast_from_main(Workspace(output=output, checkpoints=partial / "checkpoints")))
        seconds = time.perf_counter() - started
        self.announce(f"[dim]{stage.name}: took {seconds:.0f} s[/dim]")
        files = {path.relative_to(output).as_posix(): sha256(path) for path in files_in(output)}
        _remove(target)
        output.rename(target)
        return StageRecord(
            fingerprint=stage.fingerprint,
            inputs=dict(stage.inputs),
            files=files,
            result=to_jsonable_python(result),
            seconds=seconds,
            versions=self.versions,
        )


def _follow(build: Build) -> StageRecord:
    """In a process other than the main one: build whenever the main one builds, and return its record."""
    while isinstance(received := distributed.broadcast_from_main(None), Workspace):
        build(received)
    assert isinstance(received, StageRecord)
    return received


def recorded_seconds(folder: Path, stage: str) -> float | None:
    """The seconds that a stage took the last time a run did it in this folder, with any options; None if never."""
    record = read_manifest(folder).get(stage)
    return None if record is None else record.seconds


def state_of(stage: StagePlan[Name], folder: Path) -> str:
    """The state of a stage in a run folder: "done", "in the cache", "begun" or "to do"."""
    record = read_manifest(folder).get(stage.name)
    if (
        record is not None
        and record.fingerprint == stage.fingerprint
        and not _first_change(folder / stage.name, record)
    ):
        return "done"
    partial = folder / PARTIAL / stage.name
    if stage.shared:
        entry, proof = _in_cache(stage.name, stage.fingerprint)
        record, partial = read_record(proof), entry.with_suffix(".partial")
        if record is not None and record.fingerprint == stage.fingerprint and not _first_change(entry, record):
            return "in the cache"
    fingerprint_file = partial / "fingerprint"
    is_begun = fingerprint_file.exists() and fingerprint_file.read_text() == stage.fingerprint
    return "begun" if is_begun else "to do"


def steps_done(stage: StagePlan[Name], folder: Path) -> int:
    """The optimiser steps of an interrupted stage up to its latest complete checkpoint; 0 if there is none."""
    partial = folder / PARTIAL / stage.name
    if stage.shared:
        partial = _in_cache(stage.name, stage.fingerprint)[0].with_suffix(".partial")
    marks = partial.glob("checkpoints/checkpoint-*/complete")
    return max((int(mark.parent.name.rpartition("-")[2]) for mark in marks), default=0)


def _in_cache(name: str, fingerprint: str) -> tuple[Path, Path]:
    """The folder of a shared stage in the cache, and the file of its record."""
    entry = cache_folder() / "stages" / f"{name}-{fingerprint[:16]}"
    return entry, entry.with_suffix(".json")


def _first_change(folder: Path, record: StageRecord) -> str | None:
    """The first file that differs from its record; None if none does."""
    for name, digest in record.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            return name
    return None


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@contextmanager
def _waiting_for(lock: FileLock, announce: Callable[[], None]) -> Iterator[None]:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        announce()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
