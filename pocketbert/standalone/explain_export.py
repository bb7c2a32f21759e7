"""`pocketbert explain`: the parity results of a run, a bundle or an export folder. Loads no torch."""

import os
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from bench.results.document import FILE as RESULTS_FILE
from bench.results.document import read_results
from compress.common.errors import UserError, first_invalid
from compress.common.files import write_json
from compress.common.owned_files import OwnedFolder
from compress.reading.json_files import read_json_object
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import BUNDLE_FILE
from export.results import ExportResult, VariantResult

EXPORT_FILE = "export.json"  # of an export folder: all variants, also those that were not written


def export_result_of(folder: Path) -> ExportResult:
    """The stored parity results of a bundle, an export folder or a run. Raises UserError if there are none."""
    if (folder / BUNDLE_FILE).is_file():
        return _of_bundle(folder)
    if (recorded := read_export_file(folder)) is not None:
        return recorded
    if (folder / RESULTS_FILE).is_file():
        exported = read_results(folder).stages.export
        if exported is None:
            raise UserError(f"{folder}: its {RESULTS_FILE} is of a benchmark, which exports nothing; name a run")
        return exported
    if bundles := sorted(path.parent for path in folder.glob(f"*/{BUNDLE_FILE}")):
        return _merged([_of_bundle(bundle) for bundle in bundles])
    raise UserError(
        f"{folder}: no run ({RESULTS_FILE}), bundle ({BUNDLE_FILE}) or folder of bundles; `pocketbert export` makes "
        "bundles of a model"
        if folder.is_dir()
        else f"{folder}: no such folder"
    )


def read_export_file(folder: Path) -> ExportResult | None:
    """The export.json of a folder; None if it has none. Raises UserError."""
    path, problem, advice = folder / EXPORT_FILE, "not readable", "remove the file, or export to another folder"
    if not os.path.lexists(path):
        return None
    content = read_json_object(path, problem=problem, advice=advice)
    try:
        return TypeAdapter(ExportResult).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_invalid(error)}; {advice}") from error


def write_export_file(owned: OwnedFolder, exported: ExportResult) -> None:
    """Write export.json. Variants of earlier exports to the same folder stay in it."""
    earlier = read_export_file(owned.folder)
    if earlier is not None:
        exported = replace(exported, variants={**earlier.variants, **exported.variants})
    with owned.writing(EXPORT_FILE) as folder:
        write_json(folder / EXPORT_FILE, to_jsonable_python(exported))


def _of_bundle(folder: Path) -> ExportResult:
    info = read_bundle_info(folder)
    if info.proof is None:
        raise UserError(f"{folder}: its {BUNDLE_FILE} holds no proof; export the model again")
    variant = VariantResult(
        parity=info.proof.parity,
        other_providers=info.proof.other_providers,
        without_vnni=info.proof.without_vnni,
    )
    return ExportResult(
        metric=info.proof.metric,
        positive=info.proof.positive,
        task_type=info.task_type,
        variants={info.variant: variant},
        recommended=info.variant if info.recommended else None,
        labels=info.labels,
    )


def _merged(results: list[ExportResult]) -> ExportResult:
    """The variants of several bundles as one result."""
    return replace(
        results[0],
        variants={name: variant for result in results for name, variant in result.variants.items()},
        recommended=next((result.recommended for result in results if result.recommended), None),
    )
