"""The predictor of a bundle, with a small model that tells colours apart."""

import io
import json
import math
import os
import re

import numpy as np
import onnx
import pytest
from beansweep.common import files
from beansweep.common.errors import Unreadable, UserError
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
        "onnxruntime": "1.32.0",
        "oldest": {"Python": "3.8", "Pillow": "9.1", "onnxruntime": "1.11"},
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


def decide(folder, **point) -> predictor.Classifier:
    """The classifier of a bundle with an operating point: red and blue are defects."""
    run = files.read_json(folder / "run.json")
    point = {"defect_classes": ["red", "blue"], "ship_below": 0.3, "reject_from": 0.3, **point}
    files.write_json(folder / "run.json", {**run, "operating_point": point})
    return predictor.Classifier(folder)


def checked(folder) -> str:
    """What the check says of a bundle."""
    return predictor.check(predictor.Classifier(folder), folder)


def test_a_model_that_this_onnxruntime_cannot_open_is_named_in_one_sentence(folder):
    (folder / "model.onnx").write_bytes(b"no model")
    run = files.read_json(folder / "run.json")
    files.write_json(folder / "run.json", {**run, "sha256": files.sha256(folder / "model.onnx")})
    with pytest.raises(UserError) as error:
        predictor.Classifier(folder)
    assert re.match(r"onnxruntime [0-9.]+ cannot open .*model\.onnx \(", str(error.value))
    assert str(error.value).endswith(
        "install onnxruntime 1.32.0, which the model was accepted with"
    )
    assert "\n" not in str(error.value)


def test_the_check_passes_where_outputs_are_as_recorded(folder):
    assert checked(folder) == "2 sample images, all outputs identical"
    decide(folder)
    assert checked(folder) == "2 sample images, all outputs identical"


def test_one_probability_that_moved_further_than_rounding_fails_no_device(folder):
    record(folder, lambda probabilities: [probabilities[0] + 0.011, *probabilities[1:]])
    expected = "get the recorded label, 1 with identical outputs, probabilities within 1.1e-02"
    assert checked(folder) == f"2 of 2 sample images {expected}"
    decide(folder)
    assert checked(folder) == f"2 of 2 sample images {expected}".replace("label", "decision")


def test_one_of_many_samples_may_get_another_answer(folder):
    """As one near a threshold may, by rounding alone."""
    expected = json.loads((folder / "samples/expected.json").read_text())
    for number in range(2, 20):
        name = f"{number:02}.png"
        Image.new("RGB", (8, 8), COLOURS["01.png"]).save(folder / "samples" / name)
        expected[name] = expected["01.png"]
    expected["00.png"] = expected["00.png"][::-1]
    (folder / "samples/expected.json").write_text(json.dumps(expected))
    assert checked(folder).startswith("19 of 20 sample images get the recorded label, 19 with")
    for name in ("02.png", "03.png"):
        expected[name] = [0.9, 0.05, 0.05]
    (folder / "samples/expected.json").write_text(json.dumps(expected))
    with pytest.raises(Unreadable, match="3 of 20 sample images get another label here than"):
        checked(folder)


@pytest.mark.parametrize(
    "change",
    [lambda probabilities: probabilities[::-1], lambda probabilities: [math.nan] * 3],
    ids=["another label", "not a number"],
)
def test_the_check_fails_where_a_device_gives_other_answers(folder, change):
    record(folder, change)
    with pytest.raises(Unreadable) as error:
        checked(folder)
    assert str(error.value).startswith("1 of 2 sample images get another label here than recorded")
    assert "(samples/00.png: red with 0." in str(error.value)
    assert "integer kernels differ from those of AVX2" in str(error.value)
    assert "accept the model again on this device" in str(error.value)


def test_the_check_fails_where_most_probabilities_moved_though_no_label_did(folder):
    expected = json.loads((folder / "samples/expected.json").read_text())
    moved = {name: [value + 0.02 for value in values] for name, values in expected.items()}
    (folder / "samples/expected.json").write_text(json.dumps(moved))
    with pytest.raises(Unreadable, match=r"0 of 2 sample images .* and 2 differ by more"):
        checked(folder)


def test_the_check_compares_decisions_where_there_are_any(folder):
    # Both labels stay, and the score of the first image falls below the threshold.
    score = decide(folder).defect_score(np.array(expected_of(folder, "00.png"), np.float32))
    decide(folder, ship_below=score, reject_from=score)
    record(folder, lambda probabilities: [probabilities[0] - 0.005, *probabilities[1:]])
    with pytest.raises(Unreadable, match="1 of 2 sample images get another decision") as error:
        checked(folder)
    assert "samples/00.png: reject with defect score 0.9" in str(error.value)
    assert "recorded ship with defect score 0.9" in str(error.value)


def expected_of(folder, name: str) -> list[float]:
    return json.loads((folder / "samples/expected.json").read_text())[name]


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (0.0, "ship"),
        (0.2999999, "ship"),
        (0.3, "by hand"),
        (0.4999999, "by hand"),
        (0.5, "reject"),
        (1.0, "reject"),
        (math.nan, "reject"),
    ],
)
def test_an_image_is_shipped_below_one_threshold_and_rejected_from_another(folder, score, decision):
    assert decide(folder, reject_from=0.5).decision(score) == decision


def test_where_nothing_goes_to_a_person_both_thresholds_are_one(folder):
    classifier = decide(folder)
    assert classifier.decision(0.2999999) == "ship"
    assert classifier.decision(0.3) == "reject"


def test_the_defect_score_adds_the_defect_classes_in_double_precision(folder):
    probabilities = np.array([0.1, 0.2, 0.7], np.float32)
    expected = float(np.float32(0.1)) + float(np.float32(0.7))
    assert decide(folder).defect_score(probabilities) == expected


def test_decisions_are_printed_where_there_are_any(folder, capsys):
    classifier = decide(folder)
    images = [str(folder / "samples" / name) for name in COLOURS]
    assert predictor.classify(classifier, images, as_json=False) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "path,predicted,decision,defect_score,p_red,p_green,p_blue"
    assert [line.split(",")[1:3] for line in lines] == [["red", "reject"], ["green", "ship"]]
    # The printed score decides as the score did.
    for line, image in zip(lines, images, strict=True):
        assert float(line.split(",")[3]) == classifier.defect_score(classifier(image))
    predictor.classify(classifier, images[:1], as_json=True)
    row = json.loads(capsys.readouterr().out)
    assert (row["decision"], list(row)[:4]) == ("reject", header.split(",")[:4])


def standard_input(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_images_are_files_and_folders_and_lines_of_standard_input(folder, monkeypatch):
    (folder / "samples/deep").mkdir()
    (folder / "samples/deep/02.JPG").touch()
    (folder / "samples/notes.txt").touch()
    standard_input(monkeypatch, b"a.png\nwith space.png\n")
    found = list(predictor.sources(["given.txt", str(folder / "samples"), "-"]))
    samples = [str(folder / "samples" / name) for name in ("00.png", "01.png", "deep/02.JPG")]
    assert found == ["given.txt", *samples, "a.png", "with space.png"]


@pytest.mark.parametrize(
    "data",
    [
        "bean.png\nd\u00fcrr.png\n".encode(),
        "bean.png\r\n\r\nd\u00fcrr.png\r\n".encode("utf-8-sig"),
        "bean.png\r\nd\u00fcrr.png".encode("utf-16"),
    ],
    ids=["Linux", "Notepad", "PowerShell"],
)
def test_lists_come_from_every_system(monkeypatch, data):
    standard_input(monkeypatch, data)
    assert list(predictor.sources(["-"])) == ["bean.png", "d\u00fcrr.png"]


def test_a_list_keeps_names_that_are_no_text(monkeypatch, tmp_path):
    file = os.fsencode(tmp_path) + b"/caf\xe9.png"
    standard_input(monkeypatch, file + b"\n")
    (found,) = predictor.sources(["-"])
    assert os.fsencode(found) == file


def test_backslashes_of_a_list_are_slashes_here_where_such_a_file_is(monkeypatch, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/bean.png").touch()
    monkeypatch.chdir(tmp_path)
    standard_input(monkeypatch, b"deep\\bean.png\r\nno\\such.png\r\n")
    assert list(predictor.sources(["-"])) == ["deep/bean.png", "no\\such.png"]


def test_a_folder_without_images_says_so(folder, capsys):
    (folder / "empty").mkdir()
    arguments = [str(folder / "empty"), str(folder / "samples/01.png")]
    assert predictor.classify(predictor.Classifier(folder), arguments, as_json=False) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err.startswith(f"predict: {folder / 'empty'} has no images: name a folder with")
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["Python", "Pillow", "onnxruntime"])
def test_what_is_too_old_is_named_with_the_least_version(folder, name):
    run = files.read_json(folder / "run.json")
    files.write_json(folder / "run.json", {**run, "oldest": {**run["oldest"], name: "99.1"}})
    with pytest.raises(
        UserError, match=rf"{name} [0-9.]+ is too old here: install {name} 99\.1 or"
    ):
        predictor.Classifier(folder)


def test_versions_are_compared_as_numbers(folder, monkeypatch):
    run = files.read_json(folder / "run.json")
    files.write_json(folder / "run.json", {**run, "oldest": {"onnxruntime": "1.9"}})
    predictor.Classifier(folder)


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
    monkeypatch.setattr(predictor, "pin", lambda threads: [])
    times = predictor.time_queries(folder, threads=1, queries=8, warmup=0)
    assert len(times["samples_ms"]) == 8
    assert len(times["end_to_end_samples_ms"]) == 2
    assert times["load_ms"] > 0
    assert times["first_query_ms"] > 0


@pytest.fixture
def in_this_process(monkeypatch):
    """Timed processes are this one, which is pinned to the processors 3 and 5 of 8."""
    monkeypatch.setattr(predictor, "pin", lambda threads: [3, 5][:threads])
    monkeypatch.setattr(predictor, "cpus", lambda: 2)
    monkeypatch.setattr(predictor, "quota", lambda: 2.5)
    monkeypatch.setattr(
        predictor, "_in_fresh_process", lambda function, *arguments: function(*arguments)
    )


def test_a_bench_has_what_the_report_reads(folder):
    result = predictor.bench(folder, threads=1)
    assert result["candidate"] == {"backbone": "net", "variant": "int8", "sha256": "digest"}
    assert result["check"] == {"agrees": True, "said": "2 sample images, all outputs identical"}
    assert result["settings"] == {"processes": 2, "warmup": 1, "queries": 8, "threads": 1}
    assert np.shape(result["samples_ms"]) == (2, 8)
    assert np.shape(result["end_to_end_samples_ms"]) == (2, 2)
    assert np.shape(result["load_ms"]) == np.shape(result["first_query_ms"]) == (2,)
    assert result["machine"]["cores"] >= 1
    assert len(result["machine"]["pinned_to"]) == 1


def test_a_bench_records_where_it_ran_and_takes_no_more_threads_than_it_may(
    folder, in_this_process, capsys
):
    result = predictor.bench(folder, threads=4)
    assert result["settings"]["threads"] == 2
    assert result["machine"]["pinned_to"] == [3, 5]
    assert result["machine"]["cpu_quota"] == 2.5
    assert "this process may use 2 processor(s)" in capsys.readouterr().err


def test_a_bench_goes_on_where_pinning_is_not_permitted(
    folder, in_this_process, monkeypatch, capsys
):
    monkeypatch.setattr(predictor, "pin", lambda threads: [])
    assert predictor.bench(folder, threads=1)["machine"]["pinned_to"] == []
    assert "this system does not let a process be pinned" in capsys.readouterr().err


def test_a_bench_goes_on_where_the_check_fails(folder, in_this_process):
    record(folder, lambda probabilities: probabilities[::-1])
    result = predictor.bench(folder, threads=1)
    assert not result["check"]["agrees"]
    assert "samples/00.png: red with" in result["check"]["said"]
    assert np.shape(result["samples_ms"]) == (2, 8)
