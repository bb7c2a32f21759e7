"""Pushes a bundle to a repository of the Hugging Face Hub: exactly its files, in one commit."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.common.errors import UserError, first_line, library_errors
from compress.common.files import sha256
from compress.common.wording import brief_list
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import SIGNATURE
from export.provenance.signatures import require_current, signed_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "`hf auth login` stores a token; so does the environment variable HF_TOKEN"
ADVICE = {401: LOG_IN, 403: "may this token write there?", 412: "try again"}


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A bundle on the Hub. `deleted`: other files of the repository that were deleted. `signed`: with a signature."""

    repository: str
    revision: str
    url: str
    files: list[str]
    deleted: list[str]
    signed: bool


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """The files of a repository at a commit. `digests`: of each file, as `_digest` computes them."""

    commit: str
    is_private: bool
    digests: Mapping[str, str]


def push_bundle(
    folder: Path, repository: str, *, private: bool = False, revision: str | None = None, replace: bool = False
) -> Pushed:
    """Push the files of a bundle, with its signature if it has one. Creates the repository and the branch.

    The caller has verified the bundle. Unless `replace`, the repository may have no other files and none with another
    content, apart from names that begin with a dot; with it, those are deleted in the same commit. Raises UserError,
    also if the repository is public and `private` is asked for, and if a file has not arrived as it is here.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

    info, files = read_bundle_info(folder), _files_of(folder)
    api, branch = HfApi(library_name="pocketbert"), revision or "main"
    with _hub_errors(repository, "cannot be opened"):
        api.whoami()
        name = api.create_repo(repository, private=private or None, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        remote = _read(api, name, branch)
    if private and not remote.is_private:
        raise UserError(f"{name}: the repository exists and is public; make it private on the Hub first")
    others = [path for path in remote.digests if path not in files and not _begins_with_a_dot(path)]
    changed = [path for path in files if path in remote.digests and not _is_same(files[path], remote.digests[path])]
    if (others or changed) and not replace:
        raise UserError(
            f"{name}: the repository has another model or other files ({brief_list([*changed, *others])}); choose "
            "another repository",
            option="other_files",
        )
    has_old_signature = replace and SIGNATURE in remote.digests and SIGNATURE not in files
    deleted = [*others, *([SIGNATURE] if has_old_signature else [])]
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        *(CommitOperationDelete(path) for path in deleted),
        *(CommitOperationAdd(path, files[path].resolve()) for path in files),
    ]
    with _hub_errors(name, "the bundle was not pushed"):
        commit = api.create_commit(
            name,
            operations,
            commit_message=f"{info.name} ({info.variant})",
            revision=branch,
            parent_commit=remote.commit,
        )
        arrived = _read(api, name, commit.oid).digests
    missing = [path for path in files if path not in arrived or not _is_same(files[path], arrived[path])]
    if missing:
        raise UserError(
            f"{name}: the commit lacks {brief_list(missing)}, perhaps because of the repository's .gitignore; remove "
            "that, and push again"
        )
    return Pushed(
        repository=name,
        revision=commit.oid,
        url=commit.commit_url,
        files=list(files),
        deleted=deleted,
        signed=SIGNATURE in files,
    )


def _files_of(folder: Path) -> dict[str, Path]:
    """The files of a bundle by their names, and its signature, which must be of these files."""
    files = {name: folder / name for name in signed_files(folder)}
    if os.path.lexists(folder / SIGNATURE):
        require_current(folder)
        files[SIGNATURE] = folder / SIGNATURE
    return files


def _read(api: "HfApi", name: str, revision: str) -> _Remote:
    from huggingface_hub.hf_api import RepoFile

    info = api.model_info(name, revision=revision)
    tree = api.list_repo_tree(name, recursive=True, revision=info.sha)
    digests = {
        entry.path: entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
        for entry in tree
        if isinstance(entry, RepoFile)
    }
    return _Remote(commit=info.sha or "", is_private=bool(info.private), digests=digests)


def _begins_with_a_dot(path: str) -> bool:
    """Whether a file or a folder above it does; a bundle may have such names besides its own."""
    return any(part.startswith(".") for part in path.split("/"))


def _is_same(path: Path, digest: str) -> bool:
    """Whether a file has the digest that the Hub gives: the SHA-256 of a large file, the git hash of a small one."""
    from huggingface_hub.utils.sha import git_hash

    return digest == (sha256(path) if len(digest) == 64 else git_hash(path.read_bytes()))


@contextmanager
def _hub_errors(repository: str, problem: str) -> Iterator[None]:
    """Report errors of the Hub and of the network in one line each."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    problem, hub = f"{repository}: {problem}", constants.ENDPOINT
    with library_errors(f"{problem}: {hub}"):  # of the network, too
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise UserError(f"{problem}: HF_HUB_OFFLINE forbids the network; unset it") from error
        except HFValidationError as error:
            raise UserError(f"{repository}: not a name on the Hub; expected USER/NAME ({first_line(error)})") from error
        except LocalTokenNotFoundError as error:
            raise UserError(f"{problem}: there is no token for {hub}; {LOG_IN}") from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            reason = error.server_message or first_line(error)
            if status in ADVICE:
                advice = f"; {ADVICE[status]}"
            else:
                advice = "; is there such a repository?" if isinstance(error, RepositoryNotFoundError) else ""
            raise UserError(f"{problem}: {hub} answers {status} ({reason}){advice}") from error
