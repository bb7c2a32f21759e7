"""`pocketbert bench-peers`: our bundles compared with what other toolkits make of the same model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench.peers.environments import PEERS, Peer, PeerError, convert_in_environment, environment
from bench.results.benchmark import AbsentSystem, System
from bench.results.document import Results
from bench.timing.systems import Contender, Lineup, contenders_at
from compress.common.errors import UserError
from compress.common.progress import progress_bar
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from export.quantisation.calibration import calibration_rows
from pocketbert.standalone.bench_folders import FolderBenchOptions, bench_contenders, existing, outputs_of
from pocketbert.store.run_folder import cache_folder


def bench_peers(
    model: Path,
    bundles: Sequence[Path],
    question: FolderBenchOptions,
    *,
    calibration: Path,
    names: Sequence[str],
    environments: Path | None,
    output: Path | None,
    console: Console,
) -> Results:
    """The model in torch, our bundles of it, and each peer's.

    `calibration`: a table with the columns and the encoding of the question's; peers get the rows that our own variants
    get. `environments`: where the peers' environments are kept; by default the cache.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UserError(f"--peer {unknown[0]}: expected one of {', '.join(PEERS)}")
    existing([model, *bundles])
    outputs = outputs_of(str(model))
    rows = calibration_rows(question.read(calibration, outputs), task_type=outputs.task_type, seed=0)
    if question.data is not None:
        question.read(question.data, outputs)  # a table that can't be read is reported before environments are built
    limits = [read_bundle_info(bundle).max_length for bundle in bundles]
    max_length = min(limits, default=sources.max_tokens(sources.read_config(str(model))))
    in_torch = contenders_at(model, max_length=max_length, compiled=True)
    in_torch.append(replace(in_torch[0], system=replace(in_torch[0].system, precision="bf16")))
    ours = [contender for bundle in bundles for contender in contenders_at(bundle, label=f"ours {bundle.name}")]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) if output is None else output / "peers"
        theirs, absent = _converted(
            [PEERS[name] for name in names or PEERS],
            model,
            rows.rows(),
            max_length,
            environments or cache_folder() / "peers",
            folder,
            console,
        )
        others = [*in_torch, *theirs]
        parts = ["bench-peers", str(model), *map(str, bundles), "--calibration", str(calibration)]
        if question.data is None:  # with it, its own options say how both tables are read
            parts += question.table_options()
        return bench_contenders(
            Lineup(
                contenders=[*in_torch, *ours, *theirs],
                absent=absent,
                compared=dict.fromkeys(ours, others),
            ),
            question,
            name=f"{model.name}: ours beside peers",
            command=[*parts, *(part for name in names for part in ("--peer", name))],
            words="on the same model and bundles; the peers' packages are pinned",
            output=output,
            console=console,
        )


def _converted(
    peers: Sequence[Peer],
    model: Path,
    rows: Sequence[Sequence[str]],
    max_length: int,
    environments: Path,
    folder: Path,
    console: Console,
) -> tuple[list[Contender], list[AbsentSystem]]:
    """What the peers make, and why there is none of what they could not."""
    made: list[Contender] = []
    absent: list[AbsentSystem] = []
    with progress_bar("peers", console) as on_progress:
        for done, peer in enumerate(peers, start=1):
            try:
                python = environment(peer, environments)
            except PeerError as error:
                absent += [AbsentSystem(name=variant.label, reason=str(error)) for variant in peer.variants]
                continue
            outcomes = convert_in_environment(peer, python, model, rows, folder, max_length)
            for variant in peer.variants:
                outcome = outcomes[variant.label]
                if isinstance(outcome, str):
                    absent.append(AbsentSystem(name=variant.label, reason=outcome))
                    continue
                system = System(
                    label=variant.label,
                    role="peer",
                    engine=peer.engine,
                    precision=variant.precision,
                    variant=variant.variant,
                )
                made.append(
                    Contender(
                        system=system,
                        path=str(outcome),
                        python=str(python),
                        module=f"bench.peers.{peer.module}",
                        max_length=max_length,
                    )
                )
            on_progress(done, len(peers))
    return made, absent
