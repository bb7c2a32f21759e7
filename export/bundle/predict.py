#!/usr/bin/env python3
"""Run a PocketBERT bundle. Requires only numpy, onnxruntime and tokenizers.

Every bundle contains this file as `predict.py`:

    python predict.py "some text"                  print the label and its probability as JSON
    python predict.py "a text" --pair "another"    the same for a model that takes two texts
    python predict.py < lines.txt                  read one text per line, print one JSON object per line
    python predict.py --json-lines < rows.jsonl    read {"text": "...", "pair": "..."} per line, keep all other keys
    python predict.py --top-k 3 "some text"        also print the three most probable labels

A regression model prints its value instead. In lines of two texts, a tab separates them. The number of truncated texts
is printed on standard error.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 (a bundle runs outside PocketBERT; older versions fail below)
    reason = "needs Python 3.10 or newer; this is {}.{}.{}".format(*sys.version_info[:3])
    if __name__ != "__main__":
        raise ImportError("predict.py: " + reason)
    sys.stderr.write("predict.py: " + reason + "\n")
    sys.exit(2)

# Nothing is imported from the folder of this file, or from the working directory of `python - < predict.py`. The
# modules used to arrange that are built into the interpreter.
import _signal  # type: ignore[import-not-found]

if sys.platform == "win32":
    from nt import _exit, stat
else:
    from posix import _exit, stat

SEARCH_PATH = sys.path[:]
OWN_FOLDER = globals().get("__file__", "").replace("\\", "/").rpartition("/")[0] or "."


def is_own_folder(entry: str) -> bool:
    """Whether an entry of sys.path is the folder of this file, under whatever name, or a path in it."""
    try:
        status, own_status = stat(entry or "."), stat(OWN_FOLDER)
    except (OSError, ValueError):
        return False
    is_same = (status.st_dev, status.st_ino) == (own_status.st_dev, own_status.st_ino)
    return is_same or entry.startswith(OWN_FOLDER + "/")


sys.path[:] = [entry for entry in sys.path if not is_own_folder(entry)]
if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if entry]
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # while the libraries load, too
        _signal.signal(_signal.SIGINT, lambda *_: _exit(130))

# `predict_file` replaces this import by the source of the modules.
from export.bundle.predict_command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
sys.path[:] = SEARCH_PATH  # of the program that imports this file
