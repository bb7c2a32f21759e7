"""The console script `pocketbert`, and `python -m pocketbert`."""

import importlib.util
import sys
from pathlib import Path

NEIGHBOURS = ("compress", "export", "bench")


def misplaced() -> str | None:
    """What Python would import in place of one of our packages; None when all four lie side by side.

    Their names are plain words: a folder `bench` or a file `export.py` where Python was started could hide ours.
    """
    home = Path(__file__).resolve().parent.parent
    for name in NEIGHBOURS:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f"the package {name} is missing beside {home / 'pocketbert'}; install PocketBERT again"
        place = Path(spec.origin or next(iter(spec.submodule_search_locations or ["?"]))).resolve()
        if place != home / name / "__init__.py":
            return (
                f"{place}: got this in place of PocketBERT's package {name} ({home / name}); rename it or leave its "
                "folder, start the command `pocketbert` instead of `python -m pocketbert`, and install PocketBERT in "
                "an environment of its own"
            )
    return None


def main() -> None:
    """Check that the packages are ours, then hand over to the command line."""
    problem = misplaced()
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    from compress.common import distributed
    from pocketbert.cli import app

    distributed.end(app.main())


if __name__ == "__main__":
    main()
