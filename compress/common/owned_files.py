"""Output folders: what we wrote is known by its hash, and no file of the user is removed or overwritten."""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from compress.common.console import new_console
from compress.common.errors import UserError
from compress.common.escaping import one_line
from compress.common.files import sha256, write_json, write_text

RECORD = ".pocketbert.json"  # lists what a command wrote into its output folder
FORMAT_VERSION = 1
SET_ASIDE = "set-aside"

Announce = Callable[[str], None]


class OwnedFolder:
    """A folder that holds files of ours, and perhaps files of the user.

    `files`: path in the folder, with slashes -> sha256 of each file that we wrote. `announce` receives a line for each
    path that is moved aside. `save` stores `files`.
    """

    def __init__(
        self, folder: Path, files: dict[str, str], announce: Announce, save: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.files = files
        self.announce = announce
        self.save = save
        self._aside: Path | None = None

    def is_unchanged(self, name: str) -> bool:
        """Whether the path is a file that we wrote, with the content that we wrote."""
        return name in self.files and is_regular(self.folder / name) and sha256(self.folder / name) == self.files[name]

    def make_way(self, name: str) -> None:
        """Free a path for new content: delete what we wrote there, and move everything else aside.

        A file of ours at the path itself stays, for a writer that replaces it atomically. Symbolic links are not
        followed. A link or a file in the place of one of the path's folders is moved aside.
        """
        self.make_folders(name)
        if self.is_unchanged(name):
            return
        self._clear(name, self._our_folders(), self.set_aside)

    def remove(self, name: str) -> list[str]:
        """Delete what we wrote at a path, with the folders that are then empty. Returns what else is there."""
        others = list[str]()
        self._clear(name, self._our_folders(), others.append)
        self.forget(name)
        return others

    @contextmanager
    def writing(self, *names: str) -> Iterator[Path]:
        """The folder, with these paths free for the body to write. They are listed if it ends without an exception."""
        for name in names:
            self.make_way(name)
        yield self.folder
        for name in names:
            self.add(name)
        self.save()

    def write_text(self, name: str, content: str) -> None:
        """Write a text file and list it, unless it is there with this content."""
        before = self.files.get(name)
        if not is_regular(self.folder / name) or (self.folder / name).read_bytes() != content.encode():
            self.make_way(name)
            write_text(self.folder / name, content)
        self.add(name)
        if self.files[name] != before:
            self.save()

    def make_folders(self, name: str) -> None:
        """Create the folders above a path. Links and files in their places are moved aside."""
        for above in reversed(PurePosixPath(name).parents[:-1]):
            if os.path.lexists(self.folder / above) and not _is_folder(self.folder / above):
                self.set_aside(str(above))
            (self.folder / above).mkdir(exist_ok=True)

    def set_aside(self, name: str) -> None:
        """Move a path to the same path in `set-aside-NUMBER`."""
        if self._aside is None:
            self._aside = _new_folder(self.folder)
        target = self._aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).rename(target)
        self.announce(f"{self.folder / name}: not as PocketBERT wrote it; moved to {target}")

    def add(self, name: str) -> None:
        """List the file at a path, or all files of the folder there, as written by us."""
        self.forget(name)
        for file in regular_files(self.folder / name):
            self.files[file.relative_to(self.folder).as_posix()] = sha256(file)

    def forget(self, name: str) -> None:
        """List nothing at a path any more."""
        for listed in [listed for listed in self.files if listed == name or listed.startswith(f"{name}/")]:
            del self.files[listed]

    def _our_folders(self) -> set[str]:
        return {str(above) for listed in self.files for above in PurePosixPath(listed).parents}

    def _clear(self, name: str, ours: set[str], on_other: Callable[[str], object]) -> None:
        path = self.folder / name
        if not os.path.lexists(path):
            return
        if _is_folder(path) and (name in ours or not any(path.iterdir())):
            for entry in sorted(path.iterdir()):
                self._clear(f"{name}/{entry.name}", ours, on_other)
            if not any(path.iterdir()):
                path.rmdir()
        elif self.is_unchanged(name):
            path.unlink()
        else:
            on_other(name)


def require_absent(folder: Path, names: Iterable[str]) -> None:
    """Raise UserError for the first of the paths that exists in a folder without our record."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; choose another output folder")
    for name in names:
        if os.path.lexists(folder / name):
            raise UserError(
                f"{folder / name}: already exists, and this command has not written it; move it away, or choose "
                "another output folder"
            )


def require_writable(folder: Path, names: Sequence[str]) -> None:
    """Raise UserError unless a command may write these paths in an output folder. Changes nothing."""
    if read_listing(folder) is None:
        require_absent(folder, [RECORD, *names])


def print_to_stderr(line: str) -> None:
    """Print a line on stderr, with control characters escaped."""
    new_console(stderr=True).print(one_line(line), soft_wrap=True)


def open_output(folder: Path, names: Sequence[str], announce: Announce = print_to_stderr) -> OwnedFolder:
    """The output folder of a command that writes these paths. Creates it, with the record of our files.

    Raises UserError if the folder has no such record, but one of the paths.
    """
    require_writable(folder, names)
    files = read_listing(folder) or {}

    def save() -> None:
        write_json(folder / RECORD, {"format_version": FORMAT_VERSION, "files": files})

    folder.mkdir(parents=True, exist_ok=True)
    save()
    return OwnedFolder(folder, files, announce, save)


def read_listing(folder: Path) -> dict[str, str] | None:
    """The files that the record of an output folder lists; None without a record. Raises UserError."""
    path = folder / RECORD
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if is_regular(path) else None
    except ValueError:
        content = None
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        raise UserError(f"{path}: not a list of files that PocketBERT wrote; move it away, or choose another folder")
    return {name: digest for name, digest in files.items() if is_inside(name)}


def is_inside(name: str) -> bool:
    """Whether a listed path stays in its folder."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts)


def is_regular(path: Path) -> bool:
    """Whether the path is a regular file, and no symbolic link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def regular_files(path: Path) -> Iterator[Path]:
    """The regular files at or under a path, without following symbolic links."""
    if is_regular(path):
        yield path
    elif _is_folder(path):
        for entry in sorted(path.iterdir()):
            yield from regular_files(entry)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _new_folder(folder: Path) -> Path:
    number = 1
    while True:
        try:
            target = folder / f"{SET_ASIDE}-{number}"
            target.mkdir()
            return target
        except FileExistsError:
            number += 1
