"""One bundle for all tests of this folder, which copy it before they change it."""

from pathlib import Path

import pytest

from tiny_bundles import build_fp32_bundle


@pytest.fixture(scope="session")
def original(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("single"), teacher_folder, reviews, ["text"])
