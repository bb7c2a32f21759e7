"""The container image: Triton, the packages of the Python model, and the model repository."""

import re
from collections.abc import Iterable

from export.bundle.bundle_json import BundleInfo

BASE = "nvcr.io/nvidia/tritonserver:26.07-py3"  # Python 3.12
USER = 1000  # triton-server in NVIDIA's image; also the user of KServe's runtime
VERSION = re.compile(r"\d+(\.\d+)*")
DOCKERFILE = f"""\
# Triton Inference Server with the models beside this file: docker build -t NAME .
FROM {BASE}
COPY requirements.txt /tmp/requirements.txt
RUN PIP_BREAK_SYSTEM_PACKAGES=1 pip install --no-cache-dir -r /tmp/requirements.txt
# on a GPU: the products of fp32 in full precision, as predict.py computes them
ENV NVIDIA_TF32_OVERRIDE=0
COPY --chown={USER}:{USER} models /models
USER {USER}
EXPOSE 8000 8001 8002
CMD ["tritonserver", "--model-repository=/models"]
"""


def requirements(bundles: Iterable[BundleInfo]) -> str:
    """The packages of the Python model, for pip: the newest versions that wrote one of the bundles."""
    newest: dict[str, tuple[int, ...]] = {"onnxruntime": (), "tokenizers": ()}
    for info in bundles:
        for package, version in info.versions.items():
            name = package.removesuffix("-gpu")
            if name in newest and VERSION.fullmatch(version):
                newest[name] = max(newest[name], tuple(map(int, version.split("."))))
    pinned = [
        f"{name}=={'.'.join(map(str, version))}\n" if version else f"{name}\n" for name, version in newest.items()
    ]
    return "".join([*pinned, "numpy<2\n"])  # Triton's Python backend needs numpy 1
