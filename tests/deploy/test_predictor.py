"""The predictor of a bundle, with a small model that tells colours apart."""

import io
import json
import math

import numpy as np
import onnx
import pytest
from beansweep.common import files
from beansweep.common.errors import Unreadable
from beansweep.deploy import predictor
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

LABELS = ["red", "green", "blue"]
COLOURS = {"00.png": (200, 40, 90), "01.png": (10, 220, 80)}


@pytest.fixture
def folder(tmp_path):
    """A bundle of a model with the mean of each channel as its logits, and two sample images."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["means"]),
            helper.make_node("Reshape", ["means", "shape"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array([-1, 3]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    run = {
        "model": "model.onnx",
        "sha256": files.sha256(tmp_path / "model.onnx"),
        "labels": LABELS,
        "preprocessing": {"image_size": 8, "mean": [0.5] * 3, "std": [0.25] * 3},
        "session": {"session.intra_op.allow_spinning": "0"},
        "instruction_set": "AVX2",
        "candidate": {"backbone": "net", "variant": "int8", "sha256": "digest"},
        "bench": {"processes": 2, "warmup": 1, "queries": 8},
    }
    files.write_json(tmp_path / "run.json", run)
    (tmp_path / "samples").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (8, 8), colour).save(tmp_path / "samples" / name)
    record(tmp_path)
    return tmp_path


def record(folder, change=lambda probabilities: probabilities) -> None:
    """Record the sample images' probabilities, with a change of the first."""
    classifier = predictor.Classifier(folder)
    expected = {}
    for name in COLOURS:
        expected[name] = classifier(folder / "samples" / name).tolist()
    expected["00.png"] = change(expected["00.png"])
    (folder / "samples/expected.json").write_text(json.dumps(expected))


def test_the_classifier_gives_probabilities_in_the_order_of_its_labels(folder):
    classifier = predictor.Classifier(folder)
    assert classifier.labels == LABELS
    probabilities = classifier(folder / "samples/01.png")
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)
    # (pixel / 255 - mean) / std of each channel are the logits.
    logits = (np.array(COLOURS["01.png"]) / 255 - 0.5) / 0.25
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_model_with_other_bytes_is_refused(folder):
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(Unreadable, match=r"model\.onnx is not the model that was accepted"):
        predictor.Classifier(folder)


def test_the_check_passes_where_outputs_are_as_recorded(folder):
    message = predictor.check(predictor.Classifier(folder), folder)
    assert message == "2 sample images, all outputs identical"


def test_the_check_passes_where_probabilities_differ_by_rounding(folder):
    record(folder, lambda probabilities: [probabilities[0] + 0.009, *probabilities[1:]])
    message = predictor.check(predictor.Classifier(folder), folder)
    assert message == "2 sample images, all labels equal, probabilities within 9.0e-03"


@pytest.mark.parametrize(
    "change",
    [
        lambda probabilities: [probabilities[0] + 0.011, *probabilities[1:]],
        lambda probabilities: probabilities[::-1],
        lambda probabilities: [math.nan] * 3,
    ],
    ids=["more than rounding", "another label", "not a number"],
)
def test_the_check_fails_where_a_device_computes_other_outputs(folder, change):
    record(folder, change)
    with pytest.raises(Unreadable) as error:
        predictor.check(predictor.Classifier(folder), folder)
    assert str(error.value).startswith("samples/00.png: this device computes red with 0.")
    assert "integer kernels differ from those of AVX2" in str(error.value)
    assert "accept the model again on this device" in str(error.value)


def test_images_are_files_and_folders_and_lines_of_standard_input(folder, monkeypatch):
    (folder / "samples/deep").mkdir()
    (folder / "samples/deep/02.JPG").touch()
    (folder / "samples/notes.txt").touch()
    monkeypatch.setattr("sys.stdin", io.StringIO("a.png\nwith space.png\n"))
    found = list(predictor.sources(["given.txt", str(folder / "samples"), "-"]))
    samples = [str(folder / "samples" / name) for name in ("00.png", "01.png", "deep/02.JPG")]
    assert found == ["given.txt", *samples, "a.png", "with space.png"]


def test_a_line_an_image_is_printed_and_a_bad_image_is_named(folder, capsys):
    bad, good = str(folder / "run.json"), str(folder / "samples/01.png")
    classifier = predictor.Classifier(folder)
    assert predictor.classify(classifier, [bad, good], as_json=False) == 1
    printed = capsys.readouterr()
    header, line = printed.out.splitlines()
    assert header == "path,predicted,p_red,p_green,p_blue"
    assert line.startswith(f"{good},green,")
    assert f"{bad} cannot be read" in printed.err
    assert len(printed.err.splitlines()) == 1

    assert predictor.classify(classifier, [good], as_json=True) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row) == ["path", "predicted", "p_red", "p_green", "p_blue"]
    # The printed digits give every probability back to the last bit.
    values = np.array([row[f"p_{label}"] for label in LABELS], np.float32)
    np.testing.assert_array_equal(values, classifier(good))


def test_queries_are_timed_alone_and_end_to_end(folder, monkeypatch):
    monkeypatch.delattr("os.sched_setaffinity", raising=False)
    times = predictor.time_queries(folder, threads=1, queries=8, warmup=0)
    assert len(times["samples_ms"]) == 8
    assert len(times["end_to_end_samples_ms"]) == 2
    assert times["load_ms"] > 0
    assert times["first_query_ms"] > 0


def test_a_bench_has_what_the_report_reads(folder):
    result = predictor.bench(folder, threads=1)
    assert result["candidate"] == {"backbone": "net", "variant": "int8", "sha256": "digest"}
    assert result["check"] == {"agrees": True, "said": "2 sample images, all outputs identical"}
    assert result["settings"] == {"processes": 2, "warmup": 1, "queries": 8, "threads": 1}
    assert np.shape(result["samples_ms"]) == (2, 8)
    assert np.shape(result["end_to_end_samples_ms"]) == (2, 2)
    assert np.shape(result["load_ms"]) == np.shape(result["first_query_ms"]) == (2,)
    assert result["machine"]["cores"] >= 1


def test_a_bench_goes_on_where_the_check_fails(folder):
    record(folder, lambda probabilities: probabilities[::-1])
    result = predictor.bench(folder, threads=1)
    assert not result["check"]["agrees"]
    assert "this device computes red" in result["check"]["said"]
    assert np.shape(result["samples_ms"]) == (2, 8)
