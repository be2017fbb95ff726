"""The description of the machine, and the thread counts that it allows."""

import os

import pytest
from beansweep.benchmark import latency, machine
from beansweep.common import pinning, processors, progress


def test_the_machine_is_described():
    described = machine.describe(1)
    assert described["instruction_set"] == processors.detect()
    assert described["cores"] >= 1
    assert described["onnxruntime"]
    assert described["pinned_to"] == pinning.fastest(os.sched_getaffinity(0), 1)
    assert described["cpu_quota"] == pinning.quota()


def test_a_system_that_does_not_pin_is_told_in_a_line(monkeypatch):
    messages = []
    monkeypatch.setattr(latency, "run_in_fresh_process", lambda function, threads: [])
    monkeypatch.setattr(progress, "say", messages.append)
    assert machine.describe(1)["pinned_to"] == []
    assert messages == ["bench: this system does not let a process be pinned, so times vary more"]


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [(1, [1]), (3, [2]), ([1, 2], [1, 2]), ([2, 4, 1], [2, 1]), ([4, 8], [2])],
)
def test_thread_counts_are_those_that_there_are_processors_for(monkeypatch, wanted, possible):
    messages = []
    monkeypatch.setattr(pinning, "cpus", lambda: 2)
    monkeypatch.setattr(progress, "say", messages.append)
    assert machine.thread_counts(wanted) == possible
    if possible in (wanted, [wanted]):
        assert not messages
    else:
        assert len(messages) == 1
        assert "bench.threads" in messages[0]
