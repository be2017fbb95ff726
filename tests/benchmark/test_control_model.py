"""The control model is the same in every bench."""

import numpy as np
from beansweep.benchmark import control_model
from beansweep.benchmark.worker import CONTROL_MODEL_SIZE
from beansweep.models import onnx_session


def test_the_control_model_is_the_same_each_time_and_runs(tmp_path):
    metadata_files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        metadata_files.append(control_model.write(tmp_path / name))
    first, second = (file.with_suffix(".onnx").read_bytes() for file in metadata_files)
    assert first == second
    session, _ = onnx_session.load(metadata_files[0])
    image = np.random.default_rng(0).normal(size=(1, 3, *CONTROL_MODEL_SIZE)).astype(np.float32)
    features = onnx_session.logits(session, image)
    assert features.shape == (1, 128, 1, 1)
    assert np.isfinite(features).all()
    # It does work: its features depend on the image.
    assert not np.array_equal(features, onnx_session.logits(session, -image))
