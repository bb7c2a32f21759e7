"""Other toolkits beside ours; that they convert and answer is seen by `make peers`, which needs the package index."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers.environments import PEERS, PeerError, convert, environment
from pocketbert.shape_benchmark import PAPER, shape


def test_an_environment_that_cannot_be_built_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    peer = replace(PEERS["OpenVINO"], requirements=("no-such-package-as-this==1.0",))
    with pytest.raises(PeerError, match=r"OpenVINO: ERROR: .*no-such-package-as-this==1\.0"):
        environment(peer, tmp_path)
    assert not (tmp_path / "OpenVINO" / "requirements.txt").exists(), "so that it is built anew"


@pytest.mark.parametrize("name", PEERS)
def test_a_conversion_that_fails_says_why_for_every_variant(name, tmp_path, teacher_folder):
    """In an environment without the peer."""
    peer = PEERS[name]
    found = convert(peer, Path(sys.executable), teacher_folder, [("good",)], tmp_path, 32)
    assert set(found) == {variant.label for variant in peer.variants}
    assert all(isinstance(reason, str) and "Error" in reason for reason in found.values()), found
    assert json.loads((tmp_path / "calibration.json").read_text()) == [["good"]]


@pytest.mark.parametrize("name", PAPER)
def test_the_shapes_have_the_papers_parameters(name):
    count = sum(parameter.numel() for parameter in shape(name).parameters()) / 1e6
    assert count == pytest.approx(PAPER[name].parameters, rel=0.05)
