"""What a fresh process of a bench does, with sessions that only keep a record."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from beansweep.benchmark import worker
from beansweep.common import pinning
from beansweep.models import onnx_session
from conftest import PROJECT
from PIL import Image

SETTINGS = {"seed": 0, "batch_size": 2, "rounds": 3, "queries": 8, "warmup": 5}
PREPROCESSING = {"image_size": 4, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
NAMES = ("fp32", "int8", "fp32_again", "control_model")


class Recorder:
    """A session that keeps the inputs of its queries."""

    def __init__(self):
        self.inputs = []

    def get_inputs(self):
        return [SimpleNamespace(name="image")]

    def run(self, outputs, feed):
        self.inputs.append(feed["image"])
        return [np.zeros((len(feed["image"]), 3), np.float32)]


@pytest.fixture
def photographs():
    """Bytes of three PNG files."""
    result = []
    for shade in (10, 90, 200):
        file = io.BytesIO()
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
        result.append(file.getvalue())
    return result


@pytest.fixture
def sessions(monkeypatch):
    """Sessions that `onnx_session.load` gives: file name -> recorder."""
    recorders = {name: Recorder() for name in NAMES}

    def load(metadata_file, threads):
        return recorders[metadata_file.name], {"preprocessing": PREPROCESSING}

    monkeypatch.setattr(onnx_session, "load", load)
    monkeypatch.setattr(pinning, "pin", lambda threads: [])
    return recorders


def time_all(photographs, plan=None, **changes):
    files = {name: Path(name) for name in NAMES}
    return worker.time_all(files, photographs, {**SETTINGS, **changes}, 1, 0, plan)


def test_every_round_times_every_model_and_variants_end_to_end(sessions, photographs):
    alone, end_to_end = time_all(photographs)
    assert set(alone) == set(NAMES)
    for times in alone.values():
        assert np.shape(times) == (3, 8)
    assert set(end_to_end) == {"fp32", "int8"}
    for times in end_to_end.values():
        assert np.shape(times) == (3, 2)


def test_variants_see_the_same_images_in_the_same_order(sessions, photographs):
    time_all(photographs)
    batches = [image for image in sessions["fp32"].inputs if len(image) == 2]
    assert len(batches) == 5 + 3 * 8
    for name in ("int8", "fp32_again"):
        same = [image for image in sessions[name].inputs if len(image) == 2]
        np.testing.assert_array_equal(batches, same)
    # A batch starts at each photograph in turn, and each round goes on where the last one ended.
    shades = [batch[0, 0, 0, 0] for batch in batches[5:]]
    np.testing.assert_array_equal(shades, np.resize(shades[:3], len(shades)))
    assert len(set(shades[:3])) == 3


def test_models_of_several_image_sizes_see_the_same_images(sessions, photographs, monkeypatch):
    sizes = {"fp32": 4, "int8": 6, "fp32_again": 4}

    def load(metadata_file, threads):
        preprocessing = {**PREPROCESSING, "image_size": sizes.get(metadata_file.name, 4)}
        return sessions[metadata_file.name], {"preprocessing": preprocessing}

    monkeypatch.setattr(onnx_session, "load", load)
    time_all(photographs)
    small, large = sessions["fp32"].inputs, sessions["int8"].inputs
    assert {image.shape[2:] for image in small} == {(4, 4)}
    assert {image.shape[2:] for image in large} == {(6, 6)}
    # Each photograph has one colour.
    shades = [[image[0, 0, 2, 2] for image in images] for images in (small, large)]
    assert shades[0] == shades[1]


@pytest.fixture
def made_up_times(monkeypatch):
    """Query times that depend on the model alone: a function that sets ms and noise of each."""
    rng = np.random.default_rng(0)

    def set_times(milliseconds, noise):
        def time_alone(session, batches, first, count):
            middle = milliseconds[session.name]
            return (middle * np.exp(rng.normal(0, noise) * np.ones(count))).tolist()

        monkeypatch.setattr(worker, "_time_alone", time_alone)

    return set_times


@pytest.fixture
def named_sessions(sessions):
    """The same, with the name of each model."""
    for name, session in sessions.items():
        session.name = name
    return sessions


def test_what_is_too_slow_to_win_gets_fewer_queries(
    named_sessions, photographs, made_up_times, monkeypatch
):
    # FP32 is what the others are compared with, and controls are compared with other benches.
    monkeypatch.setattr(worker, "CONTROLS", ("control_model",))
    made_up_times({"fp32": 60, "int8": 1, "fp32_again": 8, "control_model": 50}, 0.1)
    alone, _ = time_all(photographs, queries=20, warmup=10)
    counts = {name: np.shape(times)[1] for name, times in alone.items()}
    assert counts == {"fp32": 20, "int8": 20, "fp32_again": 2, "control_model": 20}
    # Too few to judge by.
    alone, _ = time_all(photographs, queries=20, warmup=2)
    assert {np.shape(times)[1] for times in alone.values()} == {20}


def test_rounds_end_where_ratios_are_narrow(named_sessions, photographs, made_up_times):
    made_up_times({"fp32": 2, "int8": 1, "fp32_again": 2, "control_model": 1}, 0.001)
    alone, end_to_end = time_all(photographs, rounds=12)
    assert {len(times) for times in alone.values()} == {4}
    assert {len(times) for times in end_to_end.values()} == {4}
    made_up_times({"fp32": 2, "int8": 1, "fp32_again": 2, "control_model": 1}, 0.1)
    alone, _ = time_all(photographs, rounds=12)
    assert {len(times) for times in alone.values()} == {12}


def test_later_processes_keep_to_the_plan_of_the_first(named_sessions, photographs, made_up_times):
    made_up_times({"fp32": 2, "int8": 1, "fp32_again": 2, "control_model": 1}, 0.001)
    plan = {"rounds": 6, "queries": {"fp32": 8, "int8": 3, "fp32_again": 8, "control_model": 8}}
    alone, end_to_end = time_all(photographs, plan, rounds=12)
    assert np.shape(alone["fp32"]) == (6, 8)
    assert np.shape(alone["int8"]) == (6, 3)
    assert np.shape(end_to_end["int8"]) == (6, 1)
    assert worker.plan_of(alone) == plan


def test_the_control_model_has_an_input_of_its_own(sessions, photographs):
    time_all(photographs)
    shapes = {image.shape for image in sessions["control_model"].inputs}
    assert shapes == {(1, 3, *worker.CONTROL_MODEL_SIZE)}


@pytest.mark.parametrize("stage", ["bench", "bench_finalists"])
def test_a_process_that_is_timed_imports_no_heavy_library(stage):
    # The stage is imported by each spawned process, as its main module.
    code = (
        f"import sys, {stage}; from beansweep.benchmark import worker;"
        "heavy = {'torch', 'pandas', 'scipy', 'onnx', 'matplotlib', 'timm'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    run_python(code)


def run_python(code: str) -> None:
    """Run code in a process of its own, with the scripts on its path."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT / "scripts", capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
