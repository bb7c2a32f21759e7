"""The console script `pocketbert`, and `python -m pocketbert`."""

import os
import sys

from pocketbert import shell

NEIGHBOURS = ("compress", "export", "bench")
IS_COMPLETION = "_POCKETBERT_COMPLETE" in os.environ  # the shell asks for completions, on behalf of a person who types


def misplaced() -> str | None:
    """What Python would import instead of one of our packages; None if all four are in the same folder.

    Their names are ordinary words. A folder `bench` or a file `export.py` in the working folder could hide ours.
    """
    import importlib.util  # here and not above, where Ctrl-C would print a traceback
    from pathlib import Path

    home = Path(__file__).resolve().parent.parent
    for name in NEIGHBOURS:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"the package {name} is missing next to {home / 'pocketbert'}; install PocketBERT again"
        location = Path(spec.origin or next(iter(spec.submodule_search_locations or ["?"]))).resolve()
        if location != home / name / "__init__.py":
            return (
                f"{location}: got this instead of PocketBERT's package {name} ({home / name}); rename it or leave its "
                "folder, start the command `pocketbert` instead of `python -m pocketbert`, and install PocketBERT in "
                "an environment of its own"
            )
    return None


def main() -> None:
    """Check that the packages are ours, then run the command line."""
    shell.end_without_message()
    shell.open_closed_streams()
    problem = misplaced()
    if problem is not None:
        if not IS_COMPLETION:  # a line on stderr would end up in the line that is typed
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    if IS_COMPLETION:
        os.environ["COLUMNS"] = "1000"  # typer wraps descriptions, and fish takes each line for a completion
    from compress.common import console, distributed
    from pocketbert.cli import app

    console.escape_other_output()
    try:
        shell.raise_on_signals()
        code = app.main()
    except KeyboardInterrupt:  # a second one
        code = shell.INTERRUPTED
    finally:
        shell.end_without_message()
    problem = shell.flush_streams()
    if problem is not None:
        code = app.print_error(problem, code or 2)
    distributed.end(code)


if __name__ == "__main__":
    main()
