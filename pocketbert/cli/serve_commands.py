"""Commands that answer requests: serve, demo."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench.timing.limits import MOST_THREADS
from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import BundleFolder, examples, stderr_console

PANEL = "Deploy"
MOST_KEY_BYTES = 4096
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
DEMO_PORT = 8765
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert serve runs/reviews/bundles/int8-static",
        "pocketbert serve reviews=runs/reviews/bundles/int8-static topics=bundles/topics --port 9000",
        "pocketbert serve runs/reviews/bundles/int8-static --host 0.0.0.0 --api-key-file key.txt",
    ),
)
def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE...",
            help="Bundle folders, as FOLDER or NAME=FOLDER [default name: that of the folder]",
            autocompletion=completion.bundles,
        ),
    ],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of HTTP; 0 for a free one")] = 8080,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of gRPC; 0 for a free one")] = 8081,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Prometheus metrics; 0 for a free one")
    ] = 8082,
    latency_ms: Annotated[
        float,
        typer.Option(
            min=1, max=60_000, help="Time in which requests should be answered; more load than that gets status 503"
        ),
    ] = 50.0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="Threads that run the model, per bundle [default: one per usable core]"
        ),
    ] = None,
    batching: Annotated[bool, typer.Option(help="Answer texts of several requests together")] = True,
    max_texts: Annotated[int, typer.Option(min=1, max=100_000, help="Texts per request")] = 1024,
    max_body_kb: Annotated[int, typer.Option(min=1, max=1_000_000, help="Size of a request, in kilobytes")] = 1024,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the key that requests must carry [default: the variable POCKETBERT_API_KEY, or no key]",
        ),
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds between SIGTERM and the end of listening")
    ] = 2.0,
    request_log: Annotated[bool, typer.Option(help="Log a line of JSON per request, without texts")] = True,
) -> None:
    """Answer requests over HTTP and gRPC, in the Open Inference Protocol and that of text-embeddings-inference."""
    from bench.measurement.machine import usable_cores
    from pocketbert.serving.core.limits import Limits
    from pocketbert.serving.server import ServerOptions, run

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers tokenise side by side
    api_key = _api_key(api_key_file)
    if api_key is None and host not in ("127.0.0.1", "::1", "localhost"):
        print(f"warning: anyone who reaches {host} can send requests; set POCKETBERT_API_KEY", file=sys.stderr)
    run(
        ServerOptions(
            bundles=_named_folders(bundles),
            host=host,
            port=port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            limits=Limits(latency_ms=latency_ms, texts=max_texts, body_bytes=max_body_kb * 1024),
            workers=workers or usable_cores(),
            batching=batching,
            api_key=api_key,
            drain_s=drain_seconds,
            writes_log=request_log,
        )
    )


@commands.command(
    "demo",
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert demo runs/reviews/bundles/fp32 --open",
        "pocketbert demo runs/reviews/bundles/fp32 runs/reviews/bundles/int8-static",
    ),
)
def serve_demo(
    bundle: BundleFolder,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE2", help="A second bundle to compare it with", autocompletion=completion.bundles),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for any free one")] = DEMO_PORT,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser")] = False,
) -> None:
    """Serve a page on this machine in which one or two bundles run in the browser.

    The page classifies while you type, and shows probabilities, latency and memory. It first repeats the golden
    examples. Texts stay in the browser. The first call downloads two libraries from npm.
    """
    import threading
    import webbrowser
    from contextlib import suppress

    from compress.common.console import notice
    from pocketbert import shell
    from pocketbert.demo.bundles import load_bundles
    from pocketbert.demo.libraries import LIBRARIES, files_of
    from pocketbert.demo.resources import resources_of
    from pocketbert.demo.server import DemoServer

    console = stderr_console()
    bundles = load_bundles([folder for folder in (bundle, other) if folder is not None])
    for remark in [remark for loaded in bundles for remark in loaded.remarks]:
        console.print(notice("warning:", "yellow", remark))
    resources = resources_of(bundles, {library: files_of(library, console) for library in LIBRARIES})
    with DemoServer(resources, port=port) as server:
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        if open_page:  # a browser in the terminal would block
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        with suppress(KeyboardInterrupt, shell.Stopped):  # the only ways to end it
            server.serve_forever()


def _named_folders(bundles: Sequence[str]) -> dict[str, Path]:
    """The folders by name."""
    named: dict[str, Path] = {}
    for bundle in bundles:
        name, _, folder = bundle.rpartition("=")
        path = Path(folder)
        if name and Path(bundle).is_dir():  # a folder whose own name has an equals sign
            name, path = "", Path(bundle)
        name = name or path.absolute().name
        if not NAME.fullmatch(name):
            expected = "expected letters, digits, -, _ and .; use NAME=FOLDER"
            raise UserError(f"{bundle}: got the name {name!r:.60}; {expected}")
        if name in named:
            raise UserError(f"{bundle}: another bundle has the name {name}; use NAME=FOLDER")
        named[name] = path
    return named


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("POCKETBERT_API_KEY") or None
    try:
        with path.open("rb") as file:
            key = file.read(MOST_KEY_BYTES + 1).strip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not key or len(key) > MOST_KEY_BYTES or not key.isascii() or len(key.split()) != 1:
        raise UserError(f"{path}: expected one line with a key of at most {MOST_KEY_BYTES} ASCII characters")
    return key.decode()
