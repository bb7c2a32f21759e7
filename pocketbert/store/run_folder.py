"""The run folder: finished stages are skipped, as their fingerprints prove, and interrupted ones are resumed."""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic_core import to_jsonable_python

from compress.common import distributed
from compress.common.console import in_markup
from compress.common.errors import UserError
from compress.common.files import disk_errors, sha256, sync, write_json
from compress.common.owned_files import OwnedFolder, is_regular, regular_files, require_absent
from pocketbert.store import stage_cache
from pocketbert.store.manifest import (
    MANIFEST,
    Name,
    StagePlan,
    StageRecord,
    create_manifest,
    first_difference,
    read_files,
    read_manifest,
    read_record,
    write_manifest,
)
from pocketbert.store.stage_cache import CacheEntry, entry_of, files_of, linked_entry
from pocketbert.store.stage_state import first_change
from pocketbert.store.working_folder import FINGERPRINT, FINISHED, PARTIAL, discard
from pocketbert.store.workspace import Workspace

LOG = "log.txt"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  ")
REPORTS = ("report.html", "report.md")
OTHER_NAMES = (  # of a run folder, besides the stages
    MANIFEST, ".lock", ".pid", PARTIAL, LOG, "tensorboard", "recipe.yaml", "bundles", "results.json", *REPORTS,
)  # fmt: skip

Build = Callable[[Workspace], object]


class Run:
    """A run folder in use. As a context manager, it locks the folder.

    `names`: of the stages that a run may have. In a folder without a manifest, none of them may exist. `announce`
    receives lines with Rich markup.
    """

    def __init__(
        self, folder: Path, *, versions: Mapping[str, str], announce: Callable[[str], None], names: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder.absolute()
        self.versions = dict(versions)
        self.announce = announce
        self.names = names
        self.num_built = 0
        self.records: dict[str, StageRecord] = {}
        self.owned = OwnedFolder(self.folder, {}, self._announce_move, self.save)
        self._follows = not distributed.is_main()
        self._lock = FileLock(self.folder / ".lock")
        self._uses: dict[str, FileLock | None] = {}
        self._saved: object = None

    def __enter__(self) -> "Run":
        if self._follows:
            return self
        require_usable(self.folder, self.names)
        self.folder.mkdir(parents=True, exist_ok=True)
        create_manifest(self.folder)
        self._keep_foreign_logs()
        for name in (".lock", ".pid"):
            if os.path.lexists(self.folder / name) and not _is_process_file(self.folder / name):
                self.owned.set_aside(name)
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
            self.owned.files |= read_files(self.folder) or {}
            for name, record in self.records.items():
                self.owned.files |= files_of(name, record)
            self._saved = dict(self.records), self._other_files()
        except BaseException:
            self._lock.release()
            raise
        holder.write_text(f"{os.getpid()}\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._follows:
            return
        for use in self._uses.values():
            if use is not None:
                use.release()
                Path(use.lock_file).unlink(missing_ok=True)
        (self.folder / ".pid").unlink(missing_ok=True)
        self._lock.release()

    def stage(self, stage: StagePlan[Name], build: Build) -> StageRecord:
        """Do a stage, unless the manifest and the files prove that it is finished.

        With several processes, the main one decides, and all of them build.
        """
        if self._follows:
            return _follow(build)
        return distributed.broadcast_from_main(self._do(stage, build))

    def save(self) -> None:
        """Write the manifest, unless it holds the same."""
        records, files = dict(self.records), self._other_files()
        if self._saved != (records, files):
            write_manifest(self.folder, records, files)
            self._saved = records, files

    def _other_files(self) -> dict[str, str]:
        """Our files outside of the stages' folders."""
        files = self.owned.files.items()
        return {name: digest for name, digest in files if name.partition("/")[0] not in self.records}

    def _do(self, stage: StagePlan[Name], build: Build) -> StageRecord:
        name, fingerprint = stage.name, stage.fingerprint
        record, reason = self.records.get(name), None
        if record is not None and record.fingerprint == fingerprint:
            changed = self._first_change(name, record)
            if changed is None:
                self.announce(f"[dim]{name}: already done[/dim]")
                return record
            reason = f"{changed} was changed or removed"
        elif record is not None:
            reason = first_difference(record.inputs, stage.inputs)
        partial = f"{PARTIAL}/{name}"
        if stage.shared:
            record = self._shared(stage, build, reason)
        else:
            if linked_entry(self.folder / name) is not None:
                (self.folder / name).unlink()
            record = self._build(stage, build, self.owned, name, partial, reason)
        self.records[name] = record
        self.owned.forget(name)
        self.owned.files |= files_of(name, record)
        self.save()
        discard(self.owned, partial)
        return record

    def _first_change(self, name: str, record: StageRecord) -> str | None:
        """The first file of a finished stage that differs from its record. Keeps an entry of the cache in use."""
        target = self.folder / name
        entry = linked_entry(target)
        if entry is None or not target.is_dir():
            return first_change(target, record)
        try:
            with entry.locked(lambda: self._announce_wait(name)):
                self._use(entry)
                return first_change(target, record)
        except OSError:  # a cache that cannot be written
            return first_change(target, record)

    def _shared(self, stage: StagePlan[Name], build: Build, reason: str | None) -> StageRecord:
        name, fingerprint = stage.name, stage.fingerprint
        entry = entry_of(name, fingerprint)
        with disk_errors(entry.folder), entry.locked(lambda: self._announce_wait(name)):
            record = read_record(entry.proof)
            damage = None if record is None else first_change(entry.folder, record)
            if record is None or record.fingerprint != fingerprint or damage is not None:
                if damage is not None and reason is None:
                    reason = f"{damage} was changed or removed in the cache"
                owned, folder = entry.owned(self._announce_move), f"{stage_cache.STAGES}/{entry.name}"
                record = self._build(stage, build, owned, folder, f"{folder}.partial", reason)
                if os.path.lexists(entry.proof) and read_record(entry.proof) is None:
                    owned.set_aside(f"{folder}.json")
                write_json(entry.proof, asdict(record))
                discard(owned, f"{folder}.partial")
            else:
                self.announce(f"[dim]{name}: taken from the cache[/dim]")
            self._use(entry)
        self._link(name, entry)
        return record

    def _link(self, name: str, entry: CacheEntry) -> None:
        """Link the stage's folder to the cache."""
        target, before = self.folder / name, linked_entry(self.folder / name)
        if before is None:
            self.owned.make_way(name)
        elif before != entry:
            self._announce_others(before, self.records.get(name))
        link = self.folder / PARTIAL / f"{name}.link"
        self.owned.make_folders(f"{PARTIAL}/{name}.link")
        if link.is_symlink():  # of a killed run
            link.unlink()
        link.symlink_to(entry.folder, target_is_directory=True)
        link.replace(target)

    def _build(
        self, stage: StagePlan[Name], build: Build, owned: OwnedFolder, target: str, partial: str, reason: str | None
    ) -> StageRecord:
        """Build in `partial`, then move the result to `target`. Removes checkpoints of another fingerprint.

        `target`, `partial`: paths in the owned folder. `reason`: why a finished stage runs again.
        """
        self.num_built += 1
        if reason is not None:
            self.announce(f"{stage.name}: rerunning: {in_markup(reason)}")
        work = owned.folder / partial
        output, fingerprint_file = work / "output", work / FINGERPRINT
        if not is_regular(fingerprint_file) or fingerprint_file.read_text(errors="replace") != stage.fingerprint:
            discard(owned, partial)
            owned.make_way(f"{partial}/{FINGERPRINT}")
            fingerprint_file.write_text(stage.fingerprint)
        record = read_record(work / FINISHED)
        if record is not None and record.fingerprint == stage.fingerprint:  # it was killed before it could be listed
            if output.is_dir() and first_change(output, record) is None:
                return _move(owned, output, target, record)
            is_in_place = not output.exists() and (owned.folder / target).is_dir()
            if is_in_place and first_change(owned.folder / target, record) is None:
                return record
        discard(owned, partial, only="output")
        output.mkdir()
        self.announce(f"[bold]{stage.name}[/bold]")
        started = time.perf_counter()
        with disk_errors(work, self.folder):
            workspace = Workspace(output=output, checkpoints=work / "checkpoints")
            result = build(distributed.broadcast_from_main(workspace))
            sync(output)
        seconds = time.perf_counter() - started
        self.announce(f"[dim]{stage.name}: took {seconds:.0f} s[/dim]")
        record = StageRecord(
            fingerprint=stage.fingerprint,
            inputs=dict(stage.inputs),
            files={path.relative_to(output).as_posix(): sha256(path) for path in regular_files(output)},
            result=to_jsonable_python(result),
            seconds=seconds,
            versions=self.versions,
        )
        write_json(work / FINISHED, asdict(record))
        return _move(owned, output, target, record)

    def _use(self, entry: CacheEntry) -> None:
        if entry.name not in self._uses:
            self._uses[entry.name] = entry.use()

    def _keep_foreign_logs(self) -> None:
        """Move a log aside that is not ours, as lines are appended to it. The same for what is no folder of events."""
        log, events = self.folder / LOG, self.folder / "tensorboard"
        if os.path.lexists(log) and not log.is_char_device() and not _is_our_log(log):
            self.owned.set_aside(LOG)
        if os.path.lexists(events) and not events.is_dir():
            self.owned.set_aside("tensorboard")

    def _announce_move(self, line: str) -> None:
        self.announce(f"[yellow]kept[/yellow] {in_markup(line)}")

    def _announce_others(self, entry: CacheEntry, record: StageRecord | None) -> None:
        """Announce files that the user added through a link to the cache, as the link is about to change."""
        for path in regular_files(entry.folder):
            if record is not None and path.relative_to(entry.folder).as_posix() not in record.files:
                self.announce(f"[yellow]kept[/yellow] {in_markup(f'{path}: not written by PocketBERT')}")

    def _announce_wait(self, name: str) -> None:
        self.announce(f"{name}: waiting for another run, which does this stage")


def require_usable(folder: Path, names: tuple[str, ...]) -> None:
    """Raise UserError if the folder has no manifest of a run, but a path that a run would write."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; choose another with --output")
    if read_files(folder) is None:
        require_absent(folder, [*OTHER_NAMES, *names])


def _follow(build: Build) -> StageRecord:
    """In a process other than the main one: build whenever the main one builds, and return its record."""
    while isinstance(received := distributed.broadcast_from_main(None), Workspace):
        build(received)
    assert isinstance(received, StageRecord)
    return received


def _move(owned: OwnedFolder, output: Path, target: str, record: StageRecord) -> StageRecord:
    owned.make_way(target)
    output.rename(owned.folder / target)
    return record


def _is_process_file(path: Path) -> bool:
    """Whether it is a lock or holds a process id."""
    content = re.compile(r"(\d+\s.{0,100})?", re.DOTALL)
    return is_regular(path) and content.fullmatch(path.read_text(errors="replace")) is not None


def _is_our_log(path: Path) -> bool:
    return is_regular(path) and all(LOG_LINE.match(line) for line in path.read_text(errors="replace").split("\n")[:-1])
