"""`pocketbert bench peers`: our bundles compared with the conversions of other toolkits, for the same model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout
from rich.console import Console

from bench.peers.environments import ENVIRONMENTS_LOCK, PEERS, Peer, PeerError, convert_in_environment, environment
from bench.results.benchmark import AbsentSystem, System
from bench.results.document import Results
from bench.timing.systems import Contender, Lineup, contenders_at
from compress.common.errors import UserError
from compress.common.files import disk_errors
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import progress_bar
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from export.quantisation.calibration import calibration_rows
from pocketbert.data.table_labels import require_table_labels
from pocketbert.standalone.bench_models import OUTPUT_FILES, BenchRequest, bench_contenders, existing, outputs_of_model
from pocketbert.store.stage_cache import cache_folder

CONVERSIONS = "peers"  # the folder of their models in the output folder


def bench_peers(
    model: Path,
    bundles: Sequence[Path],
    request: BenchRequest,
    *,
    calibration: Path,
    names: Sequence[str],
    environments: Path | None,
    output: Path | None,
    console: Console,
) -> Results:
    """Benchmark the model in torch, our bundles of it, and each peer's conversions. Raises UserError.

    `calibration`: a table with the columns and encoding of the request. Peers calibrate on the same rows as our
    variants. `environments`: the folder of the peers' environments; by default in the cache.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UserError(f"--peer {unknown[0]}: expected one of {', '.join(PEERS)}")
    if output is not None:
        require_writable(output, [*OUTPUT_FILES, CONVERSIONS])
    existing([model, *bundles])
    outputs = outputs_of_model(str(model))
    if request.labels is not None:
        require_table_labels(request.labels, outputs.labels or (), outputs.task_type, model=str(model))
    rows = calibration_rows(request.read(calibration, outputs, console), task_type=outputs.task_type, seed=0)
    if request.data is not None:
        request.read(request.data, outputs)  # reports an unreadable table before it builds environments
    infos = [read_bundle_info(bundle) for bundle in bundles]
    for bundle, info in zip(bundles, infos, strict=True):
        if info.truncation_side != "right" or info.split_special_tokens:
            raise UserError(f"{bundle}: its tokenizer truncates on the left or splits special tokens; peers' do not")
    max_length = min((info.max_length for info in infos), default=sources.max_tokens(sources.read_config(str(model))))
    in_torch = contenders_at(model, max_length=max_length, compiled=True)
    in_torch.append(replace(in_torch[0], system=replace(in_torch[0].system, precision="bf16")))
    ours = [contender for bundle in bundles for contender in contenders_at(bundle, label=f"ours {bundle.name}")]
    home = environments or cache_folder() / "peers"
    owned = None if output is None else open_output(output, [*OUTPUT_FILES, CONVERSIONS])
    with TemporaryDirectory() as scratch, disk_errors(Path(scratch), home), _environments_in_use(home, console):
        folder = Path(scratch)
        if owned is not None:
            owned.make_way(CONVERSIONS)
            folder = owned.folder / CONVERSIONS
        peers = [PEERS[name] for name in names or PEERS]
        theirs, absent = _convert_all(peers, model, rows.rows(), max_length, home, folder, console)
        if owned is not None:
            owned.add(CONVERSIONS)
            owned.save()
        others = [*in_torch, *theirs]
        parts = ["bench", "peers", str(model), *map(str, bundles), "--calibration", str(calibration)]
        if request.data is None:  # otherwise the options of --data describe both tables
            parts += request.table_options()
        return bench_contenders(
            Lineup(
                contenders=[*in_torch, *ours, *theirs],
                absent=absent,
                compared=dict.fromkeys(ours, others),
            ),
            request,
            name=f"{model.name}: ours compared with peers",
            command=[*parts, *(part for name in names for part in ("--peer", name))],
            words="on the same model and bundles; the peers' packages are pinned",
            output=output,
            console=console,
        )


@contextmanager
def _environments_in_use(home: Path, console: Console) -> Iterator[None]:
    """Lock the environments, so that no other process builds or removes them."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / ENVIRONMENTS_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print("waiting for another process, which uses the peers' environments")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _convert_all(
    peers: Sequence[Peer],
    model: Path,
    rows: Sequence[Sequence[str]],
    max_length: int,
    environments: Path,
    folder: Path,
    console: Console,
) -> tuple[list[Contender], list[AbsentSystem]]:
    """The peers' conversions, and the reason for each that failed."""
    converted: list[Contender] = []
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
                converted.append(
                    Contender(
                        system=system,
                        path=str(outcome),
                        python=str(python),
                        module=f"bench.peers.{peer.module}",
                        max_length=max_length,
                    )
                )
            on_progress(done, len(peers))
    return converted, absent
