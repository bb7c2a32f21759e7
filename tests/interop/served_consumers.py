"""Servers in Rust that read bundles. They are checked by their rules for files, with the runtime that they carry."""

from tests.interop.consumers import FROM_1_22, TASKS, Consumer
from tests.interop.environments import PythonPackages

NOT_RUN = "Not run: its rules for files, with onnxruntime 1.22 and its version of tokenizers."
SINGLE_TEXTS = tuple(name for name in FROM_1_22 if name not in TASKS)


def _server(name: str, tokenizers: str, note: str, promised: tuple[str, ...]) -> Consumer:
    packages = ("onnxruntime==1.22.1", "numpy==2.2.6", f"tokenizers=={tokenizers}", "pyyaml==6.0.3")
    return Consumer(
        name=name,
        environment=PythonPackages(name=name, packages=packages),
        driver="served_files.py",
        promised=promised,
        options={"rules": name},
        note=f"{NOT_RUN}{note}",
    )


CONSUMERS = (
    _server(
        "text-embeddings-inference", "0.21.1", " A regression becomes a reranker: send `raw_scores: true`.", FROM_1_22
    ),
    _server("encoderfile", "0.22.2", " Single texts only.", SINGLE_TEXTS),
)
