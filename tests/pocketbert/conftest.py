"""Bundles of tiny classifiers, for the commands that read bundles."""

from pathlib import Path

import pytest

from tiny_bundles import build_fp32_bundle, build_pair_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("single"), teacher_folder, reviews, ["text"])


@pytest.fixture(scope="module")
def pair_bundle(tmp_path_factory, teacher_folder) -> Path:
    return build_pair_bundle(tmp_path_factory.mktemp("pairs"), teacher_folder)
