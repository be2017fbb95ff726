"""The description of the machine, and the thread counts that it allows."""

import pytest
from beansweep.benchmark import machine
from beansweep.common import processors, progress


def test_the_machine_is_described():
    described = machine.describe()
    assert described["instruction_set"] == processors.detect()
    assert described["cores"] >= 1
    assert described["onnxruntime"]


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [(1, [1]), (3, [2]), ([1, 2], [1, 2]), ([2, 4, 1], [2, 1]), ([4, 8], [2])],
)
def test_thread_counts_are_those_that_there_are_processors_for(monkeypatch, wanted, possible):
    messages = []
    monkeypatch.setattr(processors, "cpus", lambda: 2)
    monkeypatch.setattr(progress, "say", messages.append)
    assert machine.thread_counts(wanted) == possible
    if possible in (wanted, [wanted]):
        assert not messages
    else:
        assert len(messages) == 1
        assert "bench.threads" in messages[0]
