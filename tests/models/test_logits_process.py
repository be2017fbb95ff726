"""A model in a process of its own gives the logits that it gives in this one."""

import sys

import channel_means
import numpy as np
import onnx
import pytest
from beansweep.common.errors import UserError
from beansweep.models import logits_process, model_metadata, onnx_session

PREPROCESSING = {"image_size": 8, "mean": [0.5] * 3, "std": [0.1] * 3}


@pytest.fixture
def metadata(tmp_path):
    """A network: its logits are the mean of each channel."""
    model, file = tmp_path / "fp32.onnx", tmp_path / "fp32.json"
    onnx.save(channel_means.model(8), model)
    about = {"preprocessing": PREPROCESSING, "session": {}, "recipe": {}}
    model_metadata.write(file, model, labels=["a", "b", "c"], **about)
    return file


def test_logits_are_those_of_a_session_here(metadata):
    session, _ = onnx_session.load(metadata)
    images = np.random.default_rng(0).normal(size=(3, 1, 3, 8, 8)).astype(np.float32)
    with logits_process.opened([sys.executable], metadata, labels=3) as logits:
        for image in images:
            np.testing.assert_array_equal(logits(image), onnx_session.logits(session, image))


@pytest.mark.parametrize(
    ("python", "words"), [(["false"], "ended (exit status 1)"), (["true"], "ended (exit status 0)")]
)
def test_a_process_that_ends_is_named(metadata, python, words):
    image = np.zeros((1, 3, 8, 8), np.float32)
    with (
        pytest.raises(UserError) as error,
        logits_process.opened(python, metadata, labels=3) as logits,
    ):
        logits(image)
    assert words in str(error.value)
