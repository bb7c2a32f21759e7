"""Repeats all golden examples of a bundle: `python golden.py BUNDLE`, with the libraries on the search path."""

import json
import sys
from pathlib import Path

EXIT_BAD_INPUT = 2


def main() -> int:
    """Print the outcome. Returns the exit code: 0, or 2 if an output differs or a library cannot be loaded."""
    folder = Path(sys.argv[1])
    try:
        import numpy as np
        import onnxruntime
        import tokenizers  # noqa: F401  (the reason, if it cannot be loaded)
    except Exception as error:  # numpy raises RuntimeError on processors that are too old
        cause: BaseException = error
        while cause.__cause__ is not None:  # numpy puts pages of advice before it
            cause = cause.__cause__
        reason = " ".join(str(cause).split())
        return complain(f"a library cannot be loaded here ({reason[:300]}); install what it needs (Debian: libstdc++6)")
    sys.dont_write_bytecode = True  # a bundle holds only its own files
    sys.path.insert(0, str(folder))
    import predict  # type: ignore[import-not-found]

    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    golden, tolerance = content["golden"], content["golden_terms"]["logit_tolerance"]
    pairs = [example["pair"] for example in golden] if content["takes_pairs"] else None
    try:
        logits = predict.Classifier(folder).logits([example["text"] for example in golden], pairs)
    except predict.BundleError as error:
        return complain(str(error))
    stored = np.array([example["logits"] for example in golden])
    difference = float(np.abs(logits - stored).max())
    outcome = (
        f"{len(golden)} golden examples repeated with onnxruntime {onnxruntime.__version__}: "
        f"{int((logits.argmax(axis=1) != stored.argmax(axis=1)).sum())} labels changed, largest difference of a logit "
        f"{difference:.2g} (rounding explains {tolerance:.2g})"
    )
    if not difference <= tolerance:  # also for NaN
        return complain(f"{outcome}; this processor or this version computes something else; try the variant fp32")
    sys.stdout.write(outcome + "\n")
    return 0


def complain(message: str) -> int:
    """Print a line on standard error, without characters that a terminal would obey. Returns the exit code."""
    escaped = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in message)
    encoding = sys.stderr.encoding or "ascii"
    sys.stderr.write(f"error: {escaped.encode(encoding, 'backslashreplace').decode(encoding)}\n")
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
