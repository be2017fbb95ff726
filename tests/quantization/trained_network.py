"""Fixtures of a trained network, for test files that name this plugin: not to be imported."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import small_network
import torch
from beansweep.data import preprocess
from beansweep.data.pixels import Folder
from beansweep.evaluation import agreement
from beansweep.quantization import calibration, onnx_graph
from beansweep.quantization.sources import Sources
from PIL import Image
from small_network import PREPROCESSING


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with a small trained network: fp32.onnx, prepared.onnx and rewritten-*.json.

    Made in a process of its own: QEMU emulates only the process that it starts, and takes half an
    hour to train.
    """
    folder = tmp_path_factory.mktemp("trained")
    # For the tests that train further in this process, which have to repeat themselves.
    torch.set_num_threads(1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(small_network.train, folder).result()
    return folder


@pytest.fixture(scope="session")
def reference(trained):
    """Pictures, with the probabilities of the trained network."""
    pixels, true = small_network.pictures(400, seed=1)
    logits = small_network.logits(trained / "fp32.onnx", small_network.normalised(pixels))
    return agreement.Reference(pixels, PREPROCESSING, preprocess.softmax(logits), true)


@pytest.fixture
def prepared(trained):
    """The trained network, prepared for integer kernels."""
    return onnx_graph.load(trained / "prepared.onnx")


@pytest.fixture
def minmax(sources):
    """The minmax ranges of the prepared network."""
    return sources.calibrations["minmax"]


@pytest.fixture
def sources(trained, reference):
    """What a quantizer may use: two calibrations, their images as files, and the reference."""
    paths = [trained / f"rewritten-{name}.json" for name in ("minmax", "percentile")]
    result = Sources(
        calibration.read(paths, trained / "prepared.onnx"), Folder(trained), PREPROCESSING
    )
    for name, pixels in zip(result.calibrations["minmax"].images, reference.inputs, strict=False):
        Image.fromarray(pixels).save(trained / name)
    result.validation = reference
    return result
