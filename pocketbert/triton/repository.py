"""Writes the output of `pocketbert triton`: the model repository, the image and the service."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from compress.common.console import notice
from compress.common.errors import UserError
from compress.common.escaping import one_line
from compress.common.files import disk_errors, files_in, write_text
from compress.common.owned_files import OwnedFolder, open_output, require_writable
from compress.common.progress import ProgressBar
from export.bundle.bundle_json import BundleInfo, bundle_errors, read_bundle_info
from export.bundle.listed_files import SUMS_FILE, check_files, read_sums
from export.bundle.predict_file import with_runtime
from export.bundle.runtime import Classifier
from export.bundle.verification import verify_bundle
from export.quantisation.variants import FOR_GPU
from pocketbert.triton import config_text, image, kserve
from pocketbert.triton.model_names import GPU_SUFFIX, model_names, service_name

MODELS = "models"
MODEL_FILE = Path("onnx") / "model.onnx"
SERVICE_FILE = "inference-service.yaml"
REQUIREMENTS = "requirements.txt"
DOCKERFILE = "Dockerfile"
BYTECODE = "__pycache__"  # Triton's Python writes it beside model.py
OUTPUTS = (MODELS, DOCKERFILE, REQUIREMENTS, SERVICE_FILE)


@dataclass(frozen=True, kw_only=True)
class TritonRequest:
    """The options of the command.

    `names`: of the models, one per bundle; empty: those of the bundles. `gpu`: whether the models run on a GPU, in
    Triton's onnxruntime backend. `instances`: processes per model. `threads`: of each instance. `storage_uri`, `image`:
    of the Kubernetes service.
    """

    names: Sequence[str] = ()
    gpu: bool = False
    instances: int = 1
    threads: int = 2
    image: str = "pocketbert-triton"
    storage_uri: str = kserve.PLACEHOLDER


@dataclass(frozen=True, kw_only=True)
class Written:
    """What the command wrote into `folder`. `models`: bundle folder by the name that clients use. `image`: to build."""

    folder: str
    models: dict[str, str]
    image: str
    gpu: bool
    service_file: str = SERVICE_FILE


def write_repository(bundles: Sequence[Path], request: TritonRequest, *, output: Path, console: Console) -> Written:
    """Verify the bundles, and write a model repository for them, with its image and its service.

    Files of an earlier call that are not part of this one are removed, unless they were changed. Raises UserError.
    """
    require_writable(output, OUTPUTS)
    infos = [read_bundle_info(folder) for folder in bundles]
    for folder in bundles:
        if output.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{output}: inside the bundle {folder}; choose another output folder")
    names = model_names(list(zip(bundles, infos, strict=True)), request.names)
    if request.gpu:
        _require_for_gpu(bundles, infos)
    service = kserve.inference_service(
        name=service_name(names),
        image=request.image,
        storage_uri=request.storage_uri,
        resources=kserve.resources_for(
            [_size(folder / MODEL_FILE) for folder in bundles],
            instances=request.instances,
            threads=request.threads,
            gpu=request.gpu,
        ),
    )
    with ProgressBar("verify", console) as bar:
        for index, folder in enumerate(bundles):
            bar.update(index, len(bundles), str(folder))
            verified = verify_bundle(folder)
            if verified.failures:
                raise UserError("\n".join(verified.failures))
            for warning in verified.warnings:
                console.print(notice("warning:", "yellow", one_line(warning)))
        bar.update(len(bundles), len(bundles))
    owned = open_output(output, OUTPUTS)
    with disk_errors(output), TemporaryDirectory(dir=output, prefix=".partial-") as partial:
        work = Path(partial)
        for name, folder, info in zip(names, bundles, infos, strict=True):
            _write_models(work / MODELS, name, folder, info, request)
        write_text(work / DOCKERFILE, image.DOCKERFILE)
        write_text(work / REQUIREMENTS, image.requirements(infos))
        write_text(work / SERVICE_FILE, service)
        files = sorted(path.relative_to(work).as_posix() for path in files_in(work))
        owned.make_folders(f"{MODELS}/x")  # moves a link or a file in the place of the folder
        for model in {
            "/".join(name.split("/")[:2]) for name in [*owned.files, *files] if name.startswith(f"{MODELS}/")
        }:
            _clear_model(owned, model)
        with owned.writing(*files):
            for file in files:
                (work / file).replace(output / file)
    return Written(
        folder=str(output),
        models={name: str(folder) for name, folder in zip(names, bundles, strict=True)},
        image=request.image,
        gpu=request.gpu,
    )


def _clear_model(owned: OwnedFolder, name: str) -> None:
    """Remove a model that we wrote; move it aside if something in it is not ours. Triton loads every folder."""
    folder = owned.folder / name
    entries = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    is_folder = folder.is_dir() and not folder.is_symlink()
    if is_folder and all(
        path.parent.name == BYTECODE or owned.is_unchanged(path.relative_to(owned.folder).as_posix())
        for path in entries
    ):
        shutil.rmtree(folder)
    elif os.path.lexists(folder):
        owned.set_aside(name)
    owned.forget(name)


def _write_models(models: Path, name: str, bundle: Path, info: BundleInfo, request: TritonRequest) -> None:
    """Write the Python model with its copy of the bundle, and for a GPU the ONNX model."""
    on_gpu = f"{name}{GPU_SUFFIX}" if request.gpu else None
    version = models / name / "1"
    _copy_bundle(bundle, version / "bundle")
    write_text(
        models / name / "config.pbtxt",
        config_text.python_config(name, info, instances=request.instances, threads=request.threads, model=on_gpu),
    )
    if info.task_type == "classification":
        write_text(models / name / config_text.LABELS_FILE, config_text.labels_text(info.labels))
    source = Path(__file__).with_name("backend.py").read_text(encoding="utf-8")
    write_text(version / "model.py", with_runtime(source))
    if on_gpu is not None:
        file = models / on_gpu / "1" / "model.onnx"
        file.parent.mkdir(parents=True)
        shutil.copyfile(version / "bundle" / MODEL_FILE, file)
        session = Classifier(version / "bundle", num_threads=1, golden_check=False).session
        graph = [
            [(entry.name, entry.type, entry.shape) for entry in entries]
            for entries in (session.get_inputs(), session.get_outputs())
        ]
        write_text(models / on_gpu / "config.pbtxt", config_text.onnx_config(on_gpu, *graph))


def _copy_bundle(source: Path, target: Path) -> None:
    """Copy the listed files, and check the copy."""
    with bundle_errors():
        for name in [*read_sums(source), SUMS_FILE]:
            if (source / name).is_file():  # README.md may be missing
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, target / name)
        check_files(target)


def _require_for_gpu(bundles: Sequence[Path], infos: Sequence[BundleInfo]) -> None:
    for folder, info in zip(bundles, infos, strict=True):
        if info.variant not in FOR_GPU:
            raise UserError(
                f"--gpu: {folder} is the variant {info.variant}, which onnxruntime does not run on a GPU; expected "
                f"{' or '.join(FOR_GPU)}"
            )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0  # `verify_bundle` reports a missing file
