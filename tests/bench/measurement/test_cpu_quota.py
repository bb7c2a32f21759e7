"""The CPU quota of control groups, on fake file systems. Nothing here depends on the machine."""

from pathlib import Path

import psutil
import pytest

from bench.measurement import machine, noise
from bench.measurement.cpu_quota import quota_cores

OWN, CPU = "sys/fs/cgroup", "sys/fs/cgroup/cpu"


def system(root: Path, membership: str | None, files: dict[str, str | bytes]) -> Path:
    """Write a fake root. `membership`: the content of /proc/self/cgroup, one line per hierarchy; None for no file."""
    if membership is not None:
        files = {"proc/self/cgroup": membership, **files}
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def v1(folder: str, quota: str, period: str = "100000") -> dict[str, str | bytes]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        pytest.param("0::/\n", {f"{OWN}/cpu.max": "200000 100000\n"}, 2.0, id="a container, version 2"),
        pytest.param("0::/\n", {f"{OWN}/cpu.max": "50000 100000\n"}, 0.5, id="half a core"),
        pytest.param("0::/\n", {f"{OWN}/cpu.max": "max 100000\n"}, None, id="no limit, version 2"),
        pytest.param(
            "0::/pod/app\n",
            {f"{OWN}/pod/cpu.max": "150000 100000\n", f"{OWN}/pod/app/cpu.max": "400000 100000\n"},
            1.5,
            id="the parent's limit is smaller",
        ),
        pytest.param(
            "0::/pod/app\n",
            {f"{OWN}/pod/cpu.max": "max 100000\n", f"{OWN}/pod/app/cpu.max": "300000 100000\n"},
            3.0,
            id="only its own limit",
        ),
        pytest.param(
            "0::/pod/app\n",
            {f"{OWN}/pod/app/cpu.max": "max 100000\n", f"{OWN}/pod/other/cpu.max": "100000 100000\n"},
            None,
            id="the limit of a sibling does not apply",
        ),
        pytest.param("0::/../other\n", {f"{OWN}/cpu.max": "200000 100000\n"}, 2.0, id="outside the namespace"),
        pytest.param("0::/docker/abc\n", {f"{OWN}/cpu.max": "200000 100000\n"}, 2.0, id="the host's path, version 2"),
        pytest.param("4:memory:/\n3:cpu,cpuacct:/\n", v1(CPU, "250000"), 2.5, id="a container, version 1"),
        pytest.param("3:cpu:/\n", v1(CPU, "-1"), None, id="no limit, version 1"),
        pytest.param(
            "3:cpu:/docker/abc/app\n",
            {**v1(CPU, "300000"), **v1(f"{CPU}/app", "20000", "10000")},
            2.0,
            id="the host's path with a nested group",
        ),
        pytest.param(
            "3:cpu:/a/b\n", {**v1(f"{CPU}/a", "100000"), **v1(f"{CPU}/a/b", "-1")}, 1.0, id="the parent's, version 1"
        ),
        pytest.param(
            "3:cpu:/\n0::/app\n", {**v1(CPU, "200000"), "sys/fs/cgroup/unified/app/x": ""}, 2.0, id="a hybrid system"
        ),
        pytest.param("3:cpuset:/a\n", v1(f"{CPU}/a", "100000"), None, id="another controller's group"),
        pytest.param(None, {f"{OWN}/cpu.max": "200000 100000\n"}, 2.0, id="no /proc, version 2"),
        pytest.param(None, v1(CPU, "200000"), 2.0, id="no /proc, version 1"),
        pytest.param(None, {}, None, id="no control groups"),
        *(
            pytest.param("0::/\n", {f"{OWN}/cpu.max": content}, None, id=f"garbage {content!r:.20}")
            for content in (
                *("", "200000", "many 100000", "200000 0", "0 100000", "-1 100000", "-1 -1", "1 2 3", "nan 100000"),
                *("9" * 400 + " 1", b"\xff\xfe\x00", "2.5 1"),
            )
        ),
        pytest.param("0::/\n", {f"{OWN}/cpu.max/is_a_folder": ""}, None, id="unreadable"),
        pytest.param("nothing of use", {f"{OWN}/cpu.max": "max 100000"}, None, id="malformed membership"),
        pytest.param("3:cpu:/\n", {f"{CPU}/cpu.cfs_quota_us": "200000"}, None, id="a quota without its period"),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_its_ancestors(tmp_path, membership, files, expected):
    assert quota_cores(system(tmp_path, membership, files)) == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [(64, None, 64), (64, 2.0, 2), (64, 1.5, 2), (64, 0.1, 1), (2, 8.0, 2), (1, 0.5, 1), (4, 3.0001, 4)],
)
def test_usable_cores_are_limited_by_affinity_and_quota(monkeypatch, affinity, quota, expected):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(affinity)), raising=False)
    monkeypatch.setattr(machine, "quota_cores", lambda: quota)
    assert machine.usable_cores() == expected


def test_without_affinity_usable_cores_are_limited_by_the_quota(monkeypatch):
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 12)
    monkeypatch.setattr(machine, "quota_cores", lambda: None)
    assert machine.usable_cores() == 12
    monkeypatch.setattr(machine, "quota_cores", lambda: 3.0)
    assert machine.usable_cores() == 3
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1


def test_the_settings_report_the_same_quota(monkeypatch):
    monkeypatch.setattr(noise, "quota_cores", lambda: 1.5)
    assert noise.machine_settings().quota_cores == 1.5
