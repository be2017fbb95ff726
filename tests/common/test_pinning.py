"""The processors that a measurement keeps to, and how many a process may use."""

import os

import pytest
from beansweep.common import pinning


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A function that writes files of a made-up system: path -> text."""
    monkeypatch.setattr(pinning, "_PROCESSORS", tmp_path / "cpu")
    monkeypatch.setattr(pinning, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(pinning, "_OWN_CGROUPS", tmp_path / "own")

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return write


def processors(**columns: list) -> dict[str, str]:
    """Files of processors 0, 1, ...: file -> its number or text in each of them."""
    names = {
        "capacity": "cpu_capacity",
        "clock": "cpufreq/cpuinfo_max_freq",
        "siblings": "topology/thread_siblings_list",
    }
    files = {}
    for column, values in columns.items():
        for number, value in enumerate(values):
            files[f"cpu/cpu{number}/{names[column]}"] = f"{value}\n"
    return files


def test_the_big_cores_come_before_the_little_ones(system):
    system(processors(capacity=[446, 446, 1024, 871]))
    assert pinning.fastest({0, 1, 2, 3}, 1) == [2]
    assert pinning.fastest({0, 1, 2, 3}, 3) == [2, 3, 0]
    assert pinning.fastest({0, 1}, 4) == [0, 1]


def test_the_highest_clock_decides_where_there_is_no_capacity(system):
    system(processors(clock=[1800000, 2400000, 2400000]))
    assert pinning.fastest({0, 1, 2}, 2) == [1, 2]


def test_two_threads_do_not_share_a_core_while_another_is_free(system):
    system(processors(siblings=["0-1", "0-1", "2-3", "2-3"]))
    assert pinning.fastest({0, 1, 2, 3}, 2) == [0, 2]
    assert pinning.fastest({0, 1, 2, 3}, 3) == [0, 2, 1]
    assert pinning.fastest({0, 1}, 2) == [0, 1]


def test_without_any_files_processors_come_by_their_numbers(system):
    assert pinning.fastest({3, 1, 2}, 2) == [1, 2]


def test_a_process_is_pinned_to_processors_of_its_own():
    before = os.sched_getaffinity(0)
    try:
        chosen = pinning.pin(1)
        assert os.sched_getaffinity(0) == set(chosen)
    finally:
        os.sched_setaffinity(0, before)
    assert chosen == pinning.fastest(before, 1)


def test_a_system_that_permits_no_pinning_stops_nothing(monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert pinning.pin(1) == []
    monkeypatch.delattr(os, "sched_setaffinity")
    assert pinning.pin(1) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"own": "0::/\n", "cgroup/cpu.max": "max 100000\n"}, None),
        ({"own": "0::/\n", "cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "own": "0::/pod/box\n",
                "cgroup/pod/cpu.max": "200000 100000",
                "cgroup/pod/box/cpu.max": "max 100000",
            },
            2,
        ),
        (
            {
                "own": "4:memory:/other\n3:cpu,cpuacct:/box\n0::/\n",
                "cgroup/cpu/cpu.cfs_quota_us": "-1",
                "cgroup/cpu/cpu.cfs_period_us": "100000",
                "cgroup/cpu/box/cpu.cfs_quota_us": "50000",
                "cgroup/cpu/box/cpu.cfs_period_us": "100000",
                "cgroup/cpu/other/cpu.cfs_quota_us": "10000",
                "cgroup/cpu/other/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
    ],
    ids=["no groups", "no limit", "version 2", "group around it", "version 1"],
)
def test_the_quota_of_a_container_is_read(system, files, expected):
    system(files)
    assert pinning.quota() == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (2.5, 2), (0.5, 1), (16, 4)])
def test_a_process_may_use_what_affinity_and_quota_allow(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 4, 6})
    monkeypatch.setattr(pinning, "quota", lambda: quota)
    assert pinning.cpus() == expected


def test_the_governor_of_a_processor_is_read(system):
    system({"cpu/cpu3/cpufreq/scaling_governor": "performance\n"})
    assert pinning.governor(3) == "performance"
    assert pinning.governor(0) == "unknown"
