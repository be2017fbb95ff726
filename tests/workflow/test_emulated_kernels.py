"""A small model in the emulator: its kernels are those of the processor that is emulated.

`make arm` sets the emulator up; without it, pytest reports these tests as skipped.
"""

from types import SimpleNamespace

import evaluate_emulated
import numpy as np
import onnx
import pandas as pd
import pytest
from beansweep.common import emulator
from beansweep.data import pixels
from beansweep.evaluation import predictions
from beansweep.models import model_metadata
from conftest import PROJECT
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

FOLDER = PROJECT / ".emulator"
# Pixels reach the network as they are.
PREPROCESSING = {"image_size": 8, "mean": [0, 0, 0], "std": [1 / 255] * 3}

pytestmark = pytest.mark.skipif(
    not (FOLDER / emulator.READY).exists(), reason="there is no emulator: make arm"
)


def write_model(folder):
    """A network that saturates on x86 without VNNI: bytes of the image times weights of 127."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "one", "zero"], ["bytes"]),
        helper.make_node("MatMulInteger", ["bytes", "weight"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "small"], ["logits"]),
    ]
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "small": np.float32(1e-4),
        "weight": np.array([[127, 1], [127, 1], [0, 0]], np.int8),
    }
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "int8.onnx")
    about = {"preprocessing": PREPROCESSING, "session": {}, "recipe": {}}
    model_metadata.write(folder / "int8.json", folder / "int8.onnx", labels=["a", "b"], **about)


@pytest.fixture
def predict(tmp_path):
    """A function from a processor to the predictions of a dark and a white image there."""
    write_model(tmp_path)
    rows = []
    for name, level in (("dark", 20), ("white", 255)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / f"{name}.png")
        rows.append({"path": f"{name}.png", "split": "test", "class": "a"})
    table, record = tmp_path / "manifest.csv", tmp_path / "pixels.json"
    pd.DataFrame(rows).to_csv(table, index=False)
    pixels.write(tmp_path, table, {"image_size": 8}, 1, record.with_suffix(".npy"), record)

    def predicted(processor: str) -> pd.DataFrame:
        arguments = SimpleNamespace(
            settings={"emulate": processor, "images": None},
            emulator=FOLDER,
            metadata=tmp_path / "int8.json",
            manifest=table,
            root=tmp_path,
            pixels=record,
            base=None,
            output_predictions=tmp_path / f"{processor}.csv",
        )
        evaluate_emulated.main(arguments)
        return predictions.read(arguments.output_predictions).set_index("path")

    return predicted


def probability(first: int, second: int | None = None) -> float:
    """Of the first class, by both sums; if they are exact, the second is 1 / 127 of the first."""
    second = first // 127 if second is None else second
    return 1 / (1 + np.exp((second - first) * 1e-4))


def test_kernels_are_those_of_the_emulated_processor(predict):
    arm, x86 = predict("cortex-a53"), predict("Haswell")
    for found in (arm, x86):
        assert found.loc["dark.png", "p_a"] == pytest.approx(probability(2 * 20 * 127), abs=1e-6)
    assert arm.loc["white.png", "p_a"] == pytest.approx(probability(2 * 255 * 127), abs=1e-6)
    # Two products are added in 16 bits there, so the first sum stays at their largest number.
    assert x86.loc["white.png", "p_a"] == pytest.approx(probability(32767, 2 * 255), abs=1e-6)
