"""`pocketbert bench-peers`: our bundles beside what other toolkits make of the same model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from bench.contenders import Contender, contenders_at
from bench.peers.environments import PEERS, Peer, PeerError, convert, environment
from compress import locations
from compress.errors import UserError
from compress.progress import progress_bar
from compress.tasks import read_split
from export.calibration import calibration_rows
from export.manifest import read_manifest
from pocketbert.folder_benchmark import Question, existing, of_contenders
from pocketbert.runs import cache_folder


def of_peers(
    model: Path,
    bundles: Sequence[Path],
    question: Question,
    *,
    calibration: Path,
    names: Sequence[str],
    environments: Path | None,
    output: Path | None,
    console: Console,
) -> dict[str, Any]:
    """The model in torch, our bundles of it, and each peer's; returns the content of results.json.

    `calibration`: a table with the columns of the question's; peers get the rows that our own variants get.
    `environments`: where the peers' environments are kept; by default the cache.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UserError(f"--peer {unknown[0]}: expected one of {', '.join(PEERS)}")
    existing([model, *bundles])
    labels = locations.label_names(str(model))
    rows = calibration_rows(
        read_split(calibration, text=list(question.text), label=question.label, labels=labels), seed=0
    )
    limits = [read_manifest(bundle)["limits"]["max_length"] for bundle in bundles]
    max_length = min(limits, default=locations.max_tokens(locations.read_config(str(model))))
    in_torch = contenders_at(model, name=model.name, max_length=max_length, compiled=True)
    as_bf16 = replace(in_torch[0], name=f"{model.name}, torch bf16", precision="bf16")
    ours = [contender for bundle in bundles for contender in contenders_at(bundle, name=f"ours {bundle.name}")]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) if output is None else output / "peers"
        theirs, failed = _converted(
            [PEERS[name] for name in names or PEERS],
            model,
            rows.rows(),
            max_length,
            environments or cache_folder() / "peers",
            folder,
            console,
        )
        contenders = [*in_torch, as_bf16, *ours, *theirs]
        others = [contender.name for contender in (*in_torch, as_bf16, *theirs)]
        parts = ["bench-peers", str(model), *map(str, bundles), "--calibration", str(calibration)]
        return of_contenders(
            contenders,
            question,
            name=f"{model.name}: ours beside peers",
            command=[*parts, *(part for name in names for part in ("--peer", name))],
            words="on the same model and bundles; the peers' packages are pinned",
            output=output,
            console=console,
            others={contender.name: others for contender in ours},
            not_run=failed,
        )


def _converted(
    peers: Sequence[Peer],
    model: Path,
    rows: Sequence[Sequence[str]],
    max_length: int,
    environments: Path,
    folder: Path,
    console: Console,
) -> tuple[list[Contender], dict[str, str]]:
    """What the peers make, and why there is none of what they could not."""
    made: list[Contender] = []
    failed: dict[str, str] = {}
    with progress_bar("peers", console) as on_progress:
        for done, peer in enumerate(peers, start=1):
            try:
                python = environment(peer, environments)
            except PeerError as error:
                failed |= dict.fromkeys(peer.variants, str(error))
                continue
            for variant, found in convert(peer, python, model, rows, folder, max_length).items():
                if isinstance(found, str):
                    failed[variant] = found
                    continue
                made.append(
                    Contender(
                        name=variant,
                        kind="peer",
                        path=str(found),
                        python=str(python),
                        module=f"bench.peers.{peer.module}",
                        max_length=max_length,
                    )
                )
            on_progress(done, len(peers))
    return made, failed
