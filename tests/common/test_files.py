"""Files are written whole or not at all, and leave nothing behind."""

import os
import subprocess
import sys

import pytest
from beansweep.common import files


def test_what_fails_halfway_changes_nothing(tmp_path):
    files.write_text(tmp_path / "result.json", "before")
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "result.json") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "result.json").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, living, other = (
        tmp_path / f".{name}.onnx"
        for name in (f"int8.{gone.pid}", f"int8.{os.getppid()}", f"int8_static.{gone.pid}")
    )
    for path in (left, living, other):
        path.write_bytes(b"half")
    (tmp_path / "int8.onnx").write_bytes(b"whole")
    files.write_text(tmp_path / "int8.onnx", "made again")
    assert not left.exists()
    assert living.exists()
    assert other.exists()
    assert (tmp_path / "int8.onnx").read_text() == "made again"
