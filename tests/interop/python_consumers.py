"""Consumers in Python: versions of onnxruntime, Hugging Face's libraries, fastembed and OpenVINO.

text-embeddings-inference and encoderfile, servers in Rust, are checked by their rules for files, with the
runtime that they carry.
"""

from tests.interop.consumers import FP32, FROM_1_16, FROM_1_22, TASKS, Consumer
from tests.interop.environments import PythonPackages

NEWEST = PythonPackages(
    name="onnxruntime-newest", packages=("onnxruntime==1.32.0", "numpy==2.4.6", "tokenizers==0.23.3")
)
TRANSFORMERS_4 = PythonPackages(
    name="transformers-4",
    packages=("torch==2.13.0", "sentence-transformers[onnx]==5.7.0", "optimum-onnx[onnxruntime]==0.1.0"),
)
TEXTS_TOO_LONG = "The pipeline truncates only with `truncation=True`."
NOT_RUN = "Not run: its rules for files, with onnxruntime 1.22 and its version of tokenizers."
SINGLE_TEXTS = tuple(name for name in FROM_1_22 if name not in TASKS)


def _runtime(version: str, numpy: str, variants: tuple[str, ...]) -> Consumer:
    packages = (f"onnxruntime=={version}", numpy, "tokenizers==0.23.3")
    environment = PythonPackages(name=f"onnxruntime-{version}", packages=packages)
    return Consumer(
        name=f"onnxruntime {version}", environment=environment, driver="onnxruntime_session.py", promised=variants
    )


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
    _runtime("1.16.3", "numpy<2", FROM_1_16),
    _runtime("1.18.1", "numpy<2", FROM_1_16),
    _runtime("1.20.1", "numpy==2.2.6", FROM_1_16),
    _runtime("1.22.1", "numpy==2.2.6", FROM_1_22),
    _runtime("1.23.2", "numpy==2.2.6", FROM_1_22),
    Consumer(
        name="onnxruntime 1.32.0",
        environment=NEWEST,
        driver="onnxruntime_session.py",
        promised=FROM_1_22,
    ),
    Consumer(
        name="optimum-onnx 0.1.0",
        environment=TRANSFORMERS_4,
        driver="optimum_pipeline.py",
        promised=FROM_1_22,
        reports="probabilities",
        note=TEXTS_TOO_LONG,
    ),
    Consumer(
        name="sentence-transformers 5.7.0",
        environment=TRANSFORMERS_4,
        driver="cross_encoder.py",
        promised=FROM_1_22,
        note="`CrossEncoder` takes single texts only one at a time.",
    ),
    Consumer(
        name="fastembed 0.9.1",
        environment=PythonPackages(name="fastembed", packages=("fastembed==0.9.1",)),
        driver="fastembed_cross_encoder.py",
        promised=FROM_1_22,
        note="`TextCrossEncoder` takes pairs; here, its tokenizer and session take single texts.",
    ),
    Consumer(
        name="OpenVINO 2026.4.1",
        environment=PythonPackages(
            name="openvino", packages=("openvino==2026.4.1", "numpy==2.2.6", "tokenizers==0.23.3")
        ),
        driver="openvino_model.py",
        promised=FP32,
        note="OpenVINO has no `QAttention`; the static and dynamic variants run in `onnxruntime-openvino`.",
    ),
    _server(
        "text-embeddings-inference", "0.21.1", " A regression becomes a reranker: send `raw_scores: true`.", FROM_1_22
    ),
    _server("encoderfile", "0.22.2", " Single texts only.", SINGLE_TEXTS),
)
