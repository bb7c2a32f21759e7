"""The contents of the cache: a list with sizes and ages, and the removal of entries that no process uses."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from bench.peers.environments import ENVIRONMENTS_LOCK
from compress.common.files import size_bytes
from compress.common.owned_files import RECORD, Announce, OwnedFolder, is_regular, read_listing, regular_files
from compress.common.seals import damage_of, record_of
from pocketbert.store.manifest import read_record
from pocketbert.store.stage_cache import ENTRY, STAGES, CacheEntry
from pocketbert.store.working_folder import FINGERPRINT, discard

DAY_S = 86400.0
FILES = ("data", "demo", "vectors")  # folders of single files, each with a seal
PEERS = "peers"


@dataclass(frozen=True, kw_only=True)
class CachedItem:
    """An entry of the cache. `name`: its path in the cache. `age_days`: since its last use."""

    name: str
    state: Literal["finished", "unfinished"]
    size_bytes: int
    age_days: float


@dataclass(frozen=True, kw_only=True)
class CacheContents:
    """The entries of a cache folder, the largest first."""

    folder: str
    items: list[CachedItem]


def contents_of(cache: Path) -> CacheContents:
    """The entries that PocketBERT made in a cache folder. Other files are left out."""
    items = [*_stages(cache), *_files(cache), *_environments(cache)]
    return CacheContents(folder=str(cache), items=sorted(items, key=lambda item: (-item.size_bytes, item.name)))


def remove(cache: Path, item: CachedItem, announce: Announce) -> bool:
    """Remove an entry, unless a process uses it. Files that are not as we wrote them stay; each gets a line."""
    folder, _, name = item.name.partition("/")
    if folder == STAGES:
        others = _remove_stage(CacheEntry(cache=cache, name=name), announce)
    elif folder == PEERS:
        others = _remove_environment(cache / item.name, announce)
    else:
        others = _remove_file(cache / item.name)
    if others is None:
        announce(f"{cache / item.name}: in use by another process")
        return False
    for other in others:
        announce(f"{other}: not as PocketBERT wrote it")
    return not others


def _stages(cache: Path) -> Iterator[CachedItem]:
    for name in sorted({path.name.partition(".")[0] for path in _entries(cache / STAGES)}):
        entry = CacheEntry(cache=cache, name=name)
        is_finished = read_record(entry.proof) is not None
        if ENTRY.fullmatch(name) and (is_finished or is_regular(entry.partial / FINGERPRINT)):
            paths = [entry.folder, entry.proof, entry.partial]
            yield _item(cache, entry.folder, paths, is_finished=is_finished, used=entry.proof if is_finished else None)


def _files(cache: Path) -> Iterator[CachedItem]:
    for folder in FILES:
        for path in _entries(cache / folder):
            if is_regular(path) and is_regular(record_of(path)):
                yield _item(cache, path, [path], is_finished=True)


def _environments(cache: Path) -> Iterator[CachedItem]:
    for path in _entries(cache / PEERS):
        if path.is_dir() and (listing := read_listing(path)) is not None:
            yield _item(cache, path, [path], is_finished=bool(listing))


def _item(cache: Path, path: Path, paths: list[Path], *, is_finished: bool, used: Path | None = None) -> CachedItem:
    last_s = max(each.stat().st_mtime for each in ([used] if used else paths) if each.exists())
    return CachedItem(
        name=path.relative_to(cache).as_posix(),
        state="finished" if is_finished else "unfinished",
        size_bytes=sum(size_bytes(each) for each in paths if each.exists()),
        age_days=max(0.0, time.time() - last_s) / DAY_S,
    )


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.is_symlink()) if folder.is_dir() else []


def _remove_stage(entry: CacheEntry, announce: Announce) -> list[Path] | None:
    """What stays in the folder of the entry; None if a process uses it."""
    try:
        with FileLock(entry.folder.with_suffix(".lock"), timeout=0):
            if entry.is_used():
                return None
            owned = entry.owned(announce)
            others = owned.remove(f"{STAGES}/{entry.name}")
            if read_record(entry.proof) is not None:  # last, because it lists the files
                entry.proof.unlink()
            if is_regular(entry.partial / FINGERPRINT):
                discard(owned, f"{STAGES}/{entry.name}.partial")
    except Timeout:
        return None
    return [entry.cache / name for name in others]


def _remove_file(path: Path) -> list[Path]:
    record = record_of(path)
    if damage_of(record) is not None:
        return [path]
    path.unlink()
    record.unlink()
    return []


def _remove_environment(home: Path, announce: Announce) -> list[Path] | None:
    try:
        with FileLock(home.parent / ENVIRONMENTS_LOCK, timeout=0):
            listing = read_listing(home) or {}
            for file in regular_files(home):  # Python writes them when it first imports a module
                if file.parent.name == "__pycache__" and file.suffix == ".pyc":
                    file.unlink()
            owned = OwnedFolder(home.parent, {f"{home.name}/{name}": each for name, each in listing.items()}, announce)
            others = [name for name in owned.remove(home.name) if name != f"{home.name}/{RECORD}"]
            if not others:
                (home / RECORD).unlink()
                home.rmdir()
    except Timeout:
        return None
    return [home.parent / name for name in others]
