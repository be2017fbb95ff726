"""Predictions of a model and their agreement with FP32, on a network that averages each colour."""

from functools import partial

import channel_means
import numpy as np
import pandas as pd
import pytest
from beansweep.common import files, processors
from beansweep.data import pixels, preprocess
from beansweep.evaluation import agreement, metrics, predictions
from beansweep.models import onnx_session

LABELS = ["blue", "green", "red"]
PREPROCESSING = {"image_size": 24, "mean": [0.5] * 3, "std": [0.1] * 3}


@pytest.fixture(scope="module")
def session():
    """The network: its logits are the mean of each channel."""
    return onnx_session.create(channel_means.model(24).SerializeToString())


@pytest.fixture
def table(session, image_folder, tmp_path):
    """Predictions for four images, written and read again, and the folder of the images."""
    paths = ["val/blue/1.png", "val/red/1.png", "test/red/1.png", "test/green/1.png"]
    root = image_folder(*paths)
    rows = pd.DataFrame([path.split("/") for path in paths], columns=["split", "class", "file"])
    rows["path"] = paths
    metadata = {"labels": LABELS, "preprocessing": PREPROCESSING}
    logits = partial(onnx_session.logits, session)
    found = predictions.predict(logits, metadata, pixels.Folder(root), rows, "testing")
    found.to_csv(tmp_path / "fp32.csv", index=False, float_format="%.9g")
    return predictions.read(tmp_path / "fp32.csv"), root


def test_each_image_has_its_likeliest_class_and_all_probabilities(session, table):
    found, root = table
    assert predictions.labels_of(found) == LABELS
    for _, row in found.iterrows():
        inputs = preprocess.tensor(root / row["path"], PREPROCESSING)
        expected = preprocess.softmax(onnx_session.logits(session, inputs))[0]
        probabilities = row[["p_blue", "p_green", "p_red"]].to_numpy(np.float32)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-6)
        assert row["predicted"] == LABELS[expected.argmax()]


def test_only_test_images_are_counted_as_such(table):
    found, _ = table
    true, predicted, labels = predictions.test_classes(found)
    assert labels == LABELS
    names = np.array(labels)
    assert names[true].tolist() == ["red", "green"]
    assert names[predicted].tolist() == found["predicted"].tolist()[2:]


def test_a_model_agrees_with_itself(session, table, tmp_path):
    _, root = table
    reference = agreement.on_validation(
        tmp_path / "fp32.csv", pixels.Folder(root), PREPROCESSING, False
    )
    assert reference.inputs.shape == (2, 24, 24, 3)
    score = reference.score(session)
    assert score["kl"] == pytest.approx(0, abs=1e-6)
    assert (score["agreement"], score["drop"]) == (1, 0)
    true, predicted = reference.true, reference.probabilities.argmax(axis=1)
    assert score["macro_f1"] == metrics.macro_f1(true, predicted, 3)


def test_a_model_that_differs_diverges(session):
    images = np.zeros((2, 24, 24, 3), np.uint8)
    wanted = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    reference = agreement.Reference(images, PREPROCESSING, wanted)
    score = reference.score(session)
    # Of black images every class is as likely, and the first is the one predicted.
    assert score["kl"] == pytest.approx(np.log(3) + 0.8 * np.log(0.8) + 0.2 * np.log(0.1))
    assert score["agreement"] == 0.5
    assert "macro_f1" not in score


def test_a_variant_that_is_not_available_has_columns_and_no_predictions(tmp_path):
    predictions.none(LABELS).to_csv(tmp_path / "int8_qat.csv", index=False)
    found = predictions.read(tmp_path / "int8_qat.csv")
    assert found.empty
    assert predictions.labels_of(found) == LABELS


@pytest.mark.parametrize(
    ("recipe", "instruction_set", "same"),
    [
        ({"quantizer": "dynamic", "reduce_range": False}, "AVX2", False),
        ({"quantizer": "dynamic", "reduce_range": True}, "AVX2", True),
        ({"quantizer": "dynamic", "reduce_range": False}, "AVX512-VNNI", True),
        ({"quantizer": "static", "reduce_range": True}, "AVX512-VNNI", False),
        ({}, "AVX512-VNNI", False),
    ],
)
def test_dynamic_models_that_cannot_saturate_are_not_run_in_float_kernels(
    tmp_path, monkeypatch, recipe, instruction_set, same
):
    monkeypatch.setattr(processors, "detect", lambda: instruction_set)
    files.write_json(tmp_path / "model.json", {"recipe": recipe})
    assert predictions.same_in_float_kernels(tmp_path / "model.json") == same
