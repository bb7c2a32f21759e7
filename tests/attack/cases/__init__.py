"""The attacks, one module per row of the table."""

from tests.attack.attack import Attack
from tests.attack.cases.bundles import bit_flips, bundle_files, bundle_json, bundle_models
from tests.attack.cases.inputs import model_folders, options, recipes, tables
from tests.attack.cases.runs import checkpoints, kills, records
from tests.attack.cases.surroundings import disks, faults, outside_texts, user_files

MODULES = (
    bit_flips,
    bundle_json,
    bundle_files,
    bundle_models,
    records,
    checkpoints,
    kills,
    recipes,
    tables,
    model_folders,
    options,
    disks,
    faults,
    user_files,
    outside_texts,
)
TYPES = tuple(module.TYPE for module in MODULES)


def all_attacks(seed: int) -> list[Attack]:
    """Every attack. Raises ValueError for a name that two attacks have."""
    attacks = [attack for module in MODULES for attack in module.attacks(seed)]
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        raise ValueError(f"two attacks have the same name: {next(name for name in names if names.count(name) > 1)}")
    return attacks
