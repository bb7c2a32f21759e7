"""The bill of materials of a bundle: a CycloneDX 1.6 document of its files, its packages and what it was made from.

It depends on the bundle alone: it has no time and no random number.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.common.errors import UserError, library_errors
from compress.common.files import sha256, write_text
from compress.data.task_types import TaskTypeName
from export.bundle.bundle_json import BundleInfo, bundle_errors, read_bundle_info
from export.bundle.listed_files import CARD, SIGNATURE, SUMS_FILE, check_files, read_sums
from export.bundle.settings import read_json_object

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

FILE = "sbom.cdx.json"  # in a bundle
NAMESPACE = uuid.UUID("8a6f1f0a-5d0b-5f1e-9a53-3f5f6c1d2b47")  # of the serial numbers
RUNTIME = ("numpy", "onnxruntime", "onnxruntime-gpu", "tokenizers")  # what predict.py imports
TASKS: Mapping[TaskTypeName, str] = {"classification": "text classification", "regression": "text regression"}
RECIPE = "recipe"  # the digest that is of no data


def bill_of_materials(folder: Path) -> str:
    """The document for a bundle, as JSON. Raises UserError for a damaged bundle."""
    info = read_bundle_info(folder)
    with bundle_errors():
        check_files(folder)
        hashes = {name: digest for name, digest in read_sums(folder).items() if name not in (FILE, CARD)}
        model_type = str(read_json_object(folder / "config.json").get("model_type", "transformer"))
    import cyclonedx  # noqa: F401  # a missing package is no fault of the bundle

    if (folder / CARD).is_file():  # it may be edited
        hashes[CARD] = sha256(folder / CARD)
    with library_errors(f"{folder}: the bill of materials cannot be made"):
        document = json.loads(_serialised(info, dict(sorted(hashes.items()))))
    del document["metadata"]["timestamp"]
    document["metadata"]["component"]["modelCard"] = _model_card(info, model_type)
    for component in document["components"]:
        if component["type"] == "data":
            kind = "configuration" if component["name"] == RECIPE else "dataset"
            component["data"] = [{"type": kind, "name": component["name"]}]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def add_bill(folder: Path) -> Path:
    """Write the document into a bundle, and into its list of files. Returns its path. Raises UserError."""
    content = bill_of_materials(folder)
    if os.path.lexists(folder / SIGNATURE):
        raise UserError(
            f"{folder}: the bundle is signed, and another file would make the signature invalid; remove {SIGNATURE}, "
            "and sign again afterwards"
        )
    with bundle_errors():
        sums = read_sums(folder)
    write_text(folder / FILE, content)
    sums[FILE] = sha256(folder / FILE)
    write_text(folder / SUMS_FILE, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    return folder / FILE


def _serialised(info: BundleInfo, hashes: Mapping[str, str]) -> str:
    """All that the library knows of: it has neither model cards nor the kind of data."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType, Pedigree
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    files = [
        Component(type=ComponentType.FILE, name=name, bom_ref=f"file:{name}", hashes=[_hash(digest)])
        for name, digest in hashes.items()
    ]
    ancestors = [
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=name,
            bom_ref=f"base:{name}",
            purl=PackageURL("huggingface", name.rpartition("/")[0] or None, name.rpartition("/")[2]),
        )
        for name in info.base_models
    ]
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=f"{info.name} ({info.variant})",
        bom_ref="model",
        components=files,
        properties=[_property(f"origin:{name}", value) for name, value in info.origin.items()],
        pedigree=Pedigree(ancestors=ancestors) if ancestors else None,
    )
    data = [
        Component(type=ComponentType.DATA, name=name, bom_ref=f"data:{name}", hashes=[_hash(digest)])
        for name, digest in info.digests.items()
    ]
    packages = list(_packages(info))
    tools = [_package(name, version) for name, version in info.versions.items() if name not in RUNTIME]
    identity = json.dumps([info.name, info.variant, hashes], sort_keys=True)
    bom = Bom(
        serial_number=uuid.uuid5(NAMESPACE, identity),
        metadata=BomMetaData(component=model, tools=ToolRepository(components=tools)),
        components=[*packages, *data],
    )
    bom.register_dependency(model, [*packages, *data])
    return JsonV1Dot6(bom).output_as_string()


def _packages(info: BundleInfo) -> Iterator["Component"]:
    """The packages that load the bundle, in the versions with which it was measured."""
    from cyclonedx.model.component import ComponentScope

    has_gpu_build = "onnxruntime-gpu" in info.versions and "onnxruntime" not in info.versions
    for name in RUNTIME:
        if name != ("onnxruntime" if has_gpu_build else "onnxruntime-gpu"):
            oldest = info.requires.get(name.removesuffix("-gpu"))
            package = _package(name, info.versions.get(name))
            package.scope = ComponentScope.REQUIRED
            package.properties.update([] if oldest is None else [_property("oldest-version", oldest)])
            yield package


def _package(name: str, version: str | None) -> "Component":
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"package:{name}",
        purl=PackageURL("pypi", None, name, version),
    )


def _hash(digest: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _property(name: str, value: str) -> Any:
    from cyclonedx.model import Property

    return Property(name=f"pocketbert:{name}", value=value)


def _model_card(info: BundleInfo, model_type: str) -> dict[str, Any]:
    figures = [{"type": name, "value": repr(value)} for name, value in info.measured.items()]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASKS[info.task_type],
            "architectureFamily": "transformer",
            "modelArchitecture": model_type,
            "datasets": [{"ref": f"data:{name}"} for name in info.digests if name != RECIPE],
            "inputs": [{"format": "pair of texts" if info.takes_pairs else "text"}],
            "outputs": [{"format": f"logit of {label}"} for label in info.labels]
            if info.task_type == "classification"
            else [{"format": "number"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": figures},
    }
