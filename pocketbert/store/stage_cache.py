"""The cache: results of stages that several runs share. An entry is a folder, the record of its stage, and locks."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from compress.common.owned_files import Announce, OwnedFolder, is_inside
from pocketbert.store.manifest import StageRecord, read_record

STAGES = "stages"
ENTRY = re.compile(r"[a-z_]+-[0-9a-f]{16}")


def cache_folder() -> Path:
    """The folder for results that several runs can share: $POCKETBERT_CACHE, or ~/.cache/pocketbert."""
    return Path(os.getenv("POCKETBERT_CACHE") or Path.home() / ".cache" / "pocketbert").absolute()


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """The result of a stage in a cache folder."""

    cache: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder with the files of the stage."""
        return self.cache / STAGES / self.name

    @property
    def proof(self) -> Path:
        """The file with the record of the finished stage."""
        return self.folder.with_suffix(".json")

    @property
    def partial(self) -> Path:
        """The working folder of the stage."""
        return self.folder.with_suffix(".partial")

    def owned(self, announce: Announce) -> OwnedFolder:
        """The cache folder, with the files of this entry as ours."""
        record = read_record(self.proof)
        files = {} if record is None else files_of(f"{STAGES}/{self.name}", record)
        return OwnedFolder(self.cache, files, announce)

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Lock the entry against other processes that build or remove it. `on_wait` is called before a wait."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def use(self) -> FileLock | None:
        """Lock the entry against removal while this process reads it. None in a cache that cannot be written."""
        lock = FileLock(self.folder.with_suffix(f".{os.getpid()}.use"))
        try:
            lock.acquire(timeout=0)
            os.utime(self.proof)  # the time of the last use
        except (OSError, Timeout):
            return lock if lock.is_locked else None
        return lock

    def is_used(self) -> bool:
        """Whether a process reads the entry. Removes what killed processes left of their locks."""
        for path in self.folder.parent.glob(f"{self.name}.*.use"):
            try:
                with FileLock(path, timeout=0):
                    pass
            except Timeout:
                return True
            with suppress(OSError):
                path.unlink()
        return False


def entry_of(name: str, fingerprint: str) -> CacheEntry:
    """The entry of a shared stage."""
    return CacheEntry(cache=cache_folder(), name=f"{name}-{fingerprint[:16]}")


def linked_entry(link: Path) -> CacheEntry | None:
    """The entry to which a link in a run folder points; None if it is no such link."""
    if not link.is_symlink():
        return None
    folder = link.readlink()
    if folder.parent.name != STAGES or not ENTRY.fullmatch(folder.name) or not folder.name.startswith(f"{link.name}-"):
        return None
    return CacheEntry(cache=folder.parent.parent, name=folder.name)


def files_of(folder: str, record: StageRecord) -> dict[str, str]:
    """The files of a stage, with paths that begin with its folder."""
    return {f"{folder}/{name}": digest for name, digest in record.files.items() if is_inside(name)}
