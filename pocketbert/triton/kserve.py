"""The InferenceService of KServe, which runs the image on the model repository in a store."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from compress.common.errors import UserError

PLACEHOLDER = "s3://BUCKET/models"
SCHEMES = (
    "gs", "hdfs", "hf", "http", "https", "modelscope", "oci", "oci+fetch", "oci+native", "pvc", "s3", "webhdfs",
)  # fmt: skip
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
MEBIBYTES = 2**20
# mebibytes: of the server, of a Python process with its longest texts, per mebibyte of a model, and of CUDA
OF_SERVER = 256
PER_INSTANCE = 768
PER_MODEL_SIZE = 2
OF_CUDA = 1024
TEMPLATE = """\
# KServe: kubectl apply -f inference-service.yaml
# storageUri names the folder models/ of this output, not the folder of one model in it.
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    model:
      modelFormat:
        name: triton
      runtime: kserve-tritonserver
      protocolVersion: v2
      storageUri: {storage_uri}
      image: {image}
      resources:
        requests: {resources}
        limits: {resources}
      readinessProbe:
        httpGet:
          path: /v2/health/ready
          port: 8080
      volumeMounts:
        - name: shared-memory
          mountPath: /dev/shm
    volumes:
      # between Triton and its Python models, which hold texts and outputs there
      - name: shared-memory
        emptyDir:
          medium: Memory
          sizeLimit: {shared_memory}
"""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the container asks for. `gpu`: whether it needs one. Memory in mebibytes, shared memory included."""

    cpu: int
    memory: int
    shared_memory: int
    gpu: bool


def resources_for(model_bytes: Sequence[int], *, instances: int, threads: int, gpu: bool) -> Resources:
    """Enough for these models, each with this number of instances of so many threads."""
    shared_memory = 64 + 64 * instances * len(model_bytes)
    loaded = sum(instances * (PER_INSTANCE + PER_MODEL_SIZE * math.ceil(size / MEBIBYTES)) for size in model_bytes)
    return Resources(
        cpu=instances * threads * len(model_bytes),
        memory=_rounded(OF_SERVER + loaded + shared_memory + (OF_CUDA if gpu else 0)),
        shared_memory=shared_memory,
        gpu=gpu,
    )


def inference_service(*, name: str, image: str, storage_uri: str, resources: Resources) -> str:
    """The YAML document. Raises UserError for an address that KServe cannot read."""
    scheme, separator, rest = storage_uri.partition("://")
    if scheme not in SCHEMES or not separator or not rest or re.search(r"[^\x21-\x7e]", rest):
        raise UserError(
            f"--storage-uri {storage_uri}: not an address that KServe reads; expected {', '.join(SCHEMES)} before ://, "
            f"such as {PLACEHOLDER}"
        )
    if IMAGE.fullmatch(image) is None:
        raise UserError(f"--image {image}: not the name of an image; expected such as registry.example/reviews:1")
    amounts = {
        "cpu": str(resources.cpu),
        "memory": f"{resources.memory}Mi",
        **({"nvidia.com/gpu": "1"} if resources.gpu else {}),
    }
    return TEMPLATE.format(
        name=name,
        image=json.dumps(image),
        storage_uri=json.dumps(storage_uri),
        resources=json.dumps(amounts),
        shared_memory=f"{resources.shared_memory}Mi",
    )


def _rounded(mebibytes: int) -> int:
    return math.ceil(mebibytes / 256) * 256
