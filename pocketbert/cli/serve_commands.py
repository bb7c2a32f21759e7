"""Commands that answer requests: serve, demo."""

from pathlib import Path
from typing import Annotated

import typer

from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import examples, stderr_console

PANEL = "Deploy"
DEMO_PORT = 8765
commands = typer.Typer()


@commands.command(
    "demo",
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert demo runs/reviews/bundles/fp32 --open",
        "pocketbert demo runs/reviews/bundles/fp32 runs/reviews/bundles/int8-static",
    ),
)
def serve_demo(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder", autocompletion=completion.bundles)
    ],
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
