"""What goes into a deploy bundle: the candidate, predict.py, the sample images, the model."""

import ast
import json

import numpy as np
import onnx
import pandas as pd
import pytest
import vermin
from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.deploy import bundle, model_card
from beansweep.models import model_metadata
from onnx import TensorProto, helper
from PIL import Image

LABELS = ["bad", "good"]


def imports_of(source: str) -> list[ast.Import | ast.ImportFrom]:
    """Every import in a program, wherever in it."""
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def predictions(margins: dict[str, list[float]], split: str = "test") -> pd.DataFrame:
    """Predictions with these margins between both classes: class -> margin of each image."""
    rows = []
    for label, values in margins.items():
        for margin in values:
            rows.append(
                {
                    "path": f"{split}/{label}/{margin}.PNG",
                    "split": split,
                    "class": label,
                    "predicted": label,
                    "p_bad": (1 + margin) / 2 if label == "bad" else (1 - margin) / 2,
                    "p_good": (1 + margin) / 2 if label == "good" else (1 - margin) / 2,
                }
            )
    return pd.DataFrame(rows)


def test_predict_py_is_a_program_of_its_own():
    source = bundle.predict_script()
    compile(source, "predict.py", "exec")
    written = [ast.unparse(node) for node in imports_of(source)]
    assert not [line for line in written if "beansweep" in line]
    at_top = [
        ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert len(at_top) == len(set(at_top))
    assert "import numpy as np" in at_top
    assert ast.get_docstring(ast.parse(source)).startswith("Classify images")


def test_predict_py_has_each_name_once():
    defined = []
    for node in ast.parse(bundle.predict_script()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.append(node.name)
    assert {"Unreadable", "tensor", "softmax", "Classifier", "check", "main"} <= set(defined)
    assert len(defined) == len(set(defined))


def test_predict_py_runs_on_python_3_8():
    source = bundle.predict_script()
    ast.parse(source, feature_version=(3, 8))
    # The least Python 2 and the least Python 3 that have all that it uses.
    assert vermin.detect(source)[1] <= (3, 8)
    for node in ast.walk(ast.parse(source)):
        # vermin does not see `isinstance(x, int | str)`, which is of Python 3.10.
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            assert not isinstance(node.args[1], ast.BinOp), ast.unparse(node)


def test_python_that_is_too_old_for_annotations_shows_the_least_version():
    lines = bundle.predict_script().splitlines()
    (line,) = [line for line in lines if line.startswith("from __future__")]
    assert "Python 3.8 or later" in line


def test_samples_of_each_class_are_at_two_margins():
    margins = {"bad": [0.9, 0.1, 0.5, 0.3, 0.7], "good": [0.2, 0.8, 0.6, 0.4, 1.0]}
    chosen = bundle.samples(predictions(margins))
    assert chosen["path"].tolist() == [
        "test/bad/0.3.PNG",
        "test/bad/0.7.PNG",
        "test/good/0.4.PNG",
        "test/good/0.8.PNG",
    ]
    assert list(chosen) == list(predictions(margins))


def test_samples_are_test_images_and_none_comes_twice():
    rows = pd.concat(
        [
            predictions({"bad": [0.5], "good": [0.5]}),
            predictions({"bad": [0.1, 0.2], "good": [0.1, 0.2]}, "val"),
        ]
    )
    assert bundle.samples(rows)["path"].tolist() == ["test/bad/0.5.PNG", "test/good/0.5.PNG"]


@pytest.fixture
def table():
    """Two candidates, the second of them picked."""
    rows = {"backbone": ["net", "net"], "variant": ["fp32", "int8"], "pick": [False, True]}
    return pd.DataFrame({**rows, "also": [None, "int8_mixed int8_qat"]})


def test_the_named_candidate_or_else_the_pick_is_chosen(table):
    assert bundle.choose(table, None)["variant"] == "int8"
    assert bundle.choose(table, ("net", "fp32"))["variant"] == "fp32"
    # Variants with the same file have one row.
    assert bundle.choose(table, ("net", "int8_qat"))["variant"] == "int8"


def test_without_a_pick_a_candidate_has_to_be_named(table):
    table["pick"] = False
    with pytest.raises(UserError, match="no candidate may be deployed under the limits of deploy"):
        bundle.choose(table, None)
    assert bundle.choose(table, ("net", "int8"))["variant"] == "int8"


@pytest.fixture
def finished(tmp_path):
    """A folder with the files of one made-up candidate, and four images."""
    source = tmp_path / "results/net"
    (source / "predictions").mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), source / "int8.onnx"
    )
    model_metadata.write(
        source / "int8.json",
        source / "int8.onnx",
        labels=LABELS,
        preprocessing={"image_size": 8},
        session={"session.key": "1"},
        recipe={"quantizer": "static"},
    )
    rows = pd.concat(
        [
            predictions({"bad": [0.5, 0.25], "good": [0.125, 0.75]}),
            predictions({"bad": [0.3, 0.6, 0.9], "good": [0.4]}, "val"),
        ]
    )
    rows.to_csv(source / "predictions/int8.csv", index=False)
    for path in rows["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / path)
    bench = {
        "machine": {"instruction_set": "AVX2", "onnxruntime": "1.32.0"},
        "settings": {"processes": 5, "warmup": 20, "rounds": 12, "queries": 30},
    }
    files.write_json(source / "latency.json", bench)
    return tmp_path


SETTINGS = {
    "good_classes": ["good"],
    "max_megapixels": 30,
    "deploy": {"max_missed_defect_rate": 0.08},
    "report": {"confidence": 0.95},
}


def write_bundle(finished, **figures):
    """Write the bundle of the made-up candidate, with more figures in its line of the table."""
    row = pd.Series({"backbone": "net", "variant": "int8", **figures})
    output = finished / "bundle"
    bundle.write(output, row, finished / "results", finished / "manifest.csv", finished, SETTINGS)
    return output


def test_a_bundle_says_how_its_model_is_run(finished, monkeypatch):
    monkeypatch.setattr(model_card, "describe", lambda *arguments: "described")
    folder = write_bundle(finished)
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL_CARD.md",
        "labels.json",
        "model.onnx",
        "predict.py",
        "run.json",
        "samples",
    ]
    run = files.read_json(folder / "run.json")
    assert run["sha256"] == files.sha256(folder / run["model"])
    assert run["labels"] == files.read_json(folder / "labels.json") == LABELS
    assert run["opset"] == 18
    # The device refuses what the data set may not have either.
    assert run["preprocessing"] == {"image_size": 8, "max_megapixels": 30}
    assert run["oldest"] == {"Python": "3.8", "Pillow": "9.1", "onnxruntime": "1.14"}
    assert run["operating_point"] is None
    assert run["bench"] == {"processes": 5, "warmup": 20, "queries": 360}
    evaluated = files.sha256(finished / "results/net/int8.onnx")
    assert run["candidate"] == {"backbone": "net", "variant": "int8", "sha256": evaluated}
    # A model file alone says as much in its own properties.
    properties = {}
    for entry in onnx.load(folder / "model.onnx").metadata_props:
        properties[entry.key] = json.loads(entry.value)
    for key in ("labels", "preprocessing", "session", "instruction_set", "recipe"):
        assert properties[key] == run[key]


def test_a_bundle_takes_its_operating_point_along(finished, monkeypatch):
    monkeypatch.setattr(model_card, "describe", lambda *arguments: "described")
    folder = write_bundle(
        finished, ship_below=0.25, reject_from=0.5, val_missed_defect_rate_high=0.07, val_defects=40
    )
    point = files.read_json(folder / "run.json")["operating_point"]
    assert point == {
        "defect_classes": ["bad"],
        "ship_below": 0.25,
        "reject_from": 0.5,
        "max_missed_defect_rate": 0.08,
        "confidence": 0.95,
        "validation_defects": 40,
        "guarantee": (
            "With 95% confidence, at most 8.00% of defects are shipped, if new images are "
            "exchangeable with the 40 validation defects: drawn in the same way"
        ),
    }
    model = onnx.load(folder / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["operating_point"]) == point


def test_a_bundle_has_its_samples_with_what_was_recorded(finished, monkeypatch):
    monkeypatch.setattr(model_card, "describe", lambda *arguments: "described")
    folder = write_bundle(finished)
    expected = files.read_json(folder / "samples/expected.json")
    assert list(expected) == ["00.png", "01.png", "02.png", "03.png"]
    for name in expected:
        assert (folder / "samples" / name).exists()
    np.testing.assert_array_equal(expected["00.png"], [0.625, 0.375])


def test_a_bundle_is_written_whole_or_not_at_all(finished, monkeypatch):
    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(model_card, "describe", fail)
    before = sorted(finished.iterdir())
    with pytest.raises(OSError, match="no space left"):
        write_bundle(finished)
    assert sorted(finished.iterdir()) == before


def test_a_candidate_that_does_not_exist_is_named():
    rows = {"backbone": ["resnet18"], "variant": ["fp32"], "pick": [True], "also": [None]}
    table = pd.DataFrame(rows)
    assert bundle.choose(table, ("resnet18", "fp32"))["variant"] == "fp32"
    with pytest.raises(UserError, match=r"resnet18 has no int8_qat: results/pareto\.md says why"):
        bundle.choose(table, ("resnet18", "int8_qat"))
