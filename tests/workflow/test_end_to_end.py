"""The real Snakefile: end to end on a tiny data set, its reruns, and its refusals."""

import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates
from beansweep.benchmark import device_results
from beansweep.common import processors
from conftest import PROJECT, TINY, VARIANTS, configure, planned, snakemake
from PIL import Image


def test_the_report_has_a_row_a_candidate_and_a_verdict(finished):
    table = pd.read_csv(finished / "results/pareto.csv")
    named = []
    for _, row in table.fillna({"also": ""}).iterrows():
        named += [(row["backbone"], name) for name in (row["variant"], *row["also"].split())]
    # Variants that are the same file are one row.
    assert sorted(named) == [
        (backbone, variant) for backbone in TINY["backbones"] for variant in sorted(VARIANTS)
    ]
    int8 = table[table["variant"] != "fp32"]
    assert (int8["quantization_drop"] + int8["kernel_drop"]).to_numpy() == pytest.approx(
        (
            int8["backbone"].map(
                table[table["variant"] == "fp32"].set_index("backbone")["test_macro_f1"]
            )
            - int8["test_macro_f1"]
        ).to_numpy(),
        abs=1e-5,
    )
    assert int8["finding"].str.len().min() > 0
    assert table["front"].any()
    assert table["test_macro_f1"].between(0, 1).all()
    assert (table.loc[table["variant"] == "fp32", "test_agreement"] == 1).all()
    text = (finished / "results/pareto.md").read_text()
    assert "**Pick:" in text or "**No candidate may be deployed.**" in text
    assert text.count(" to ") > 20
    for words in (
        "Wilson's",
        "McNemar p",
        "FP32 against itself",
        "control model",
        "One seed was trained",
        "of defects missed at most",
        "validation defects cannot vouch for 8.00%",
        "Does FP32's threshold survive INT8?",
    ):
        assert words in text
    for picture in re.findall(r"\]\((.*?\.png)\)", text):
        assert (finished / "results" / picture).stat().st_size > 5000


def test_the_csv_follows_from_the_predictions(finished):
    table = pd.read_csv(finished / "results/pareto.csv").set_index(["backbone", "variant"])
    rows = pd.read_csv(finished / "results/squeezenet1_1/predictions/int8_static.csv")
    test = rows[rows["split"] == "test"]
    probabilities = test.filter(regex="^p_")
    assert probabilities.sum(axis=1).between(0.999, 1.001).all()
    assert (probabilities.idxmax(axis=1).str.removeprefix("p_") == test["predicted"]).all()
    row = table.loc[("squeezenet1_1", "int8_static")]
    score = probabilities.drop(columns="p_good").sum(axis=1)
    missed = (score < row["ship_below"]) & (test["class"] != "good")
    assert row["test_missed_defect_count"] == missed.sum()
    rejected = (score >= row["reject_from"]) & (test["class"] == "good")
    assert row["test_rejected_good_count"] == rejected.sum()


# Columns of a bundle that has an operating point.
DECISION = ["decision", "defect_score"]


@pytest.fixture(scope="module")
def bundle(finished, tmp_path_factory):
    """A bundle of one candidate, copied away from the project."""
    target = "results/squeezenet1_1/deploy/int8_static"
    result = snakemake(finished, "--cores", "2", target)
    assert result.returncode == 0, result.stderr
    return Path(shutil.copytree(finished / target, tmp_path_factory.mktemp("device") / "bundle"))


def predict(bundle, *arguments, **options):
    """Run a bundle's predictor where nothing of the project can be imported."""
    return subprocess.run(
        [sys.executable, "-I", bundle / "predict.py", *arguments],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_a_bundle_predicts_what_was_evaluated_to_the_last_bit(finished, bundle):
    expected = pd.read_csv(
        finished / "results/squeezenet1_1/predictions/int8_static.csv"
    ).set_index("path")
    expected = expected[expected["split"] == "test"]
    images = finished / "results/dataset/generated"
    result = predict(bundle, images / "test")
    assert result.returncode == 0, result.stderr
    found = pd.read_csv(io.StringIO(result.stdout))
    found.index = [Path(path).relative_to(images).as_posix() for path in found["path"]]
    assert len(found) == len(expected)
    pd.testing.assert_frame_equal(
        found.drop(columns=["path", *DECISION]),
        expected.loc[found.index].drop(columns=["split", "class"]),
        check_exact=True,
        check_names=False,
    )
    # The device decides as the report says.
    table = pd.read_csv(finished / "results/pareto.csv").set_index(["backbone", "variant"])
    row = table.loc[("squeezenet1_1", "int8_static")]
    is_good = expected.loc[found.index, "class"] == "good"
    assert (found["decision"][~is_good] == "ship").sum() == row["test_missed_defect_count"]
    assert (found["decision"][is_good] == "reject").sum() == row["test_rejected_good_count"]


def test_a_bundle_reads_paths_as_they_come_and_goes_on_after_a_bad_one(bundle):
    sample = next((bundle / "samples").glob("*.jpg"))
    result = predict(bundle, "--json", "-", input=f"{sample}\nnowhere.jpg\n{sample}\n")
    assert result.returncode == 1
    assert "nowhere.jpg cannot be read" in result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(sample)] * 2
    assert rows[0]["predicted"] in json.loads((bundle / "labels.json").read_text())


def test_a_bundle_writes_a_header_where_the_first_image_is_broken(bundle, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(b"not a JPEG")
    shutil.copy(next((bundle / "samples").glob("*.jpg")), folder / "1.jpg")
    result = predict(bundle, folder)
    assert result.returncode == 1
    table = pd.read_csv(io.StringIO(result.stdout))
    labels = json.loads((bundle / "labels.json").read_text())
    columns = [column for column in table if column not in DECISION]
    assert columns == ["path", "predicted", *(f"p_{label}" for label in labels)]
    assert table["path"].tolist() == [str(folder / "1.jpg")]


def test_a_bundle_ends_quietly_when_nobody_reads_on(bundle):
    process = subprocess.Popen(
        [sys.executable, "-I", bundle / "predict.py", *[bundle / "samples"] * 50],
        cwd=bundle,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("path,predicted,")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


def test_a_bundle_checks_itself(bundle, tmp_path):
    result = predict(bundle, "--check")
    assert result.returncode == 0, result.stderr
    assert "all outputs identical" in result.stdout
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    model = bytearray((damaged / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (damaged / "model.onnx").write_bytes(model)
    result = predict(damaged, "--check")
    assert result.returncode == 1
    assert "is not the model that was accepted" in result.stderr
    assert "Traceback" not in result.stderr
    # A device that computes something else than was recorded.
    expected = json.loads((bundle / "samples/expected.json").read_text())
    elsewhere = Path(shutil.copytree(bundle, tmp_path / "elsewhere"))
    (elsewhere / "samples/expected.json").write_text(
        json.dumps({name: [1] + [0] * 5 for name in expected})
    )
    result = predict(elsewhere, "--check")
    assert result.returncode == 1
    assert "accept the model again" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bundle_times_itself_and_the_report_takes_it(finished, bundle, tmp_path):
    result = predict(bundle, "--bench", tmp_path / "device.json")
    assert result.returncode == 0, result.stderr
    assert "all outputs identical" in result.stdout
    table = candidates.read(
        finished / "results",
        TINY["backbones"],
        VARIANTS,
        ["good"],
        synthetic.CONFIG["deploy"],
        synthetic.CONFIG["report"],
    ).table
    here = processors.detect()
    found = device_results.read(
        "here", [tmp_path / "device.json"], table, finished / "results", here, 0.95
    )
    assert list(found.table.index) == ["squeezenet1_1:int8_static"]
    assert found.table["p50_ms"].item() > 0
    assert found.machine["instruction_set"] == here
    assert not found.changed
    assert not found.disagreeing
    configure(
        finished,
        bench={**TINY["bench"], "device_results": {"here": [str(tmp_path / "device.json")]}},
    )
    try:
        assert planned(finished, "results/pareto.md") == {"report": 1}
    finally:
        configure(finished)


def test_a_bundle_says_what_it_is(bundle):
    metadata = (bundle / "MODEL_CARD.md").read_text()
    for words in ("squeezenet1_1", "macro-F1", "Known failures", "Limits", "manifest SHA-256"):
        assert words in metadata
    properties = {
        entry.key: entry.value for entry in onnx.load(bundle / "model.onnx").metadata_props
    }
    run = json.loads((bundle / "run.json").read_text())
    assert json.loads(properties["labels"]) == run["labels"]
    assert json.loads(properties["session"]) == run["session"]


def test_the_pick_is_bundled_where_there_is_one(finished):
    result = snakemake(finished, "--cores", "2", "results/deploy")
    picked = pd.read_csv(finished / "results/pareto.csv").query("pick")
    if picked.empty:
        assert "no candidate may be deployed under the limits" in result.stderr
    else:
        assert json.loads((finished / "results/deploy/run.json").read_text())["recipe"] is not None


def test_a_second_run_has_nothing_to_do(finished):
    assert planned(finished) == {}
    assert planned(finished, "--cores", "1") == {}


def test_one_backbone_runs_alone(tmp_path):
    configure(tmp_path)
    jobs = planned(tmp_path, "results/squeezenet1_1/latency.json")
    # Only FP32 is evaluated, for the choice of a calibration. Only the layers of int8_static are
    # ranked, for int8_mixed.
    assert jobs == {
        "generate": 1,
        "dataset": 1,
        "inspect_backbone": 1,
        "instruction_set": 1,
        "decode": 1,
        "train": 1,
        "export_fp32": 1,
        "prepare": 2,
        "calibrate": 3,
        "quantize_int8": 3,
        "sensitivity": 1,
        "quantize_mixed": 1,
        "quantize_qat": 1,
        "evaluate": 1,
        "bench": 1,
    }


def test_a_folder_of_class_folders_is_split_and_its_bad_image_named(tmp_path, image_folder):
    root = image_folder(*(f"{label}/{i}.jpg" for label in ("good", "bad") for i in range(12)))
    configure(tmp_path, dataset={"root": str(root)})
    target = "results/dataset/manifest.csv"
    assert snakemake(tmp_path, "--cores", "1", target).returncode == 0
    manifest = pd.read_csv(tmp_path / target)
    assert manifest.groupby(["class", "split"]).size().unstack().notna().all(axis=None)
    assert planned(tmp_path, target) == {}

    (root / "bad/3.jpg").write_bytes(b"not a JPEG")
    assert planned(tmp_path, target) == {"dataset": 1}
    result = snakemake(tmp_path, "--cores", "1", target)
    assert result.returncode != 0
    said = [line for line in result.stderr.splitlines() if line.startswith("dataset: ")]
    assert len(said) == 1
    assert "bad/3.jpg cannot be read (not an image): replace it or take it away" in said[0]
    assert "Traceback" in (tmp_path / "results/logs/dataset.log").read_text()


def run_small_sweep(folder: Path, dataset: dict, left_out: dict, *targets: str) -> str:
    """Run a sweep of one backbone and one epoch; returns what was said.

    Parameters
    ----------
    dataset : settings
    left_out : variants that are not made
    """
    configure(
        folder,
        dataset=dataset,
        backbones=["squeezenet1_1"],
        train={**TINY["train"], "epochs": 1},
        variants={**TINY["variants"], **left_out},
    )
    result = snakemake(folder, "--cores", "4", *targets)
    assert result.returncode == 0, result.stderr
    return result.stderr


STATIC_ALONE = dict.fromkeys(
    ["int8_mixed", "int8_qat", "int8_ort_default", "int8_weight_only", "int8_dynamic"]
)


def test_train_and_an_unlabelled_test_go_all_the_way_in_every_format(tmp_path, image_folder):
    """As folders of competitions are, with class names in any script."""
    suffixes = ["jpg", "png", "bmp", "gif", "ppm", "webp", "tif", "avif"] * 3
    labels = ("good", "\u4e0d\u826f")
    images = []
    for label in labels:
        images += [f"training/{label}/{i}.{suffix}" for i, suffix in enumerate(suffixes)]
    root = image_folder(*images, *(f"testing/{i}.jpg" for i in range(3)))
    target = "results/pareto.md"
    said = run_small_sweep(tmp_path, {"root": str(root)}, STATIC_ALONE, target)
    assert "there are no val and no test images with classes" in said
    assert "3 image(s) are in no class folder" in said
    predicted = pd.read_csv(tmp_path / "results/squeezenet1_1/predictions/int8_static.csv")
    assert set(predicted["split"]) == {"val", "test"}
    assert set(predicted["class"]) == set(labels)
    text = (tmp_path / target).read_text()
    assert "leave the recall of a class open" in text
    assert labels[1] in text


def test_twelve_bits_are_the_same_in_a_valid_folder_and_on_the_device(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "images"
    for split, label, i in itertools.product(("train", "valid", "test"), ("good", "bad"), range(8)):
        path = root / split / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.uniform(0, 4095, (6, 6)).astype(np.float32))
        levels = np.clip(np.asarray(coarse.resize((40, 40), Image.Resampling.BICUBIC)), 0, 4095)
        Image.fromarray(levels.astype(np.uint16)).save(path)
    target = "results/squeezenet1_1/deploy/int8_static"
    dataset = {"root": str(root), "bits": 12, "max_megapixels": 1}
    run_small_sweep(tmp_path, dataset, STATIC_ALONE, "results/pareto.md", target)
    bundle = Path(shutil.copytree(tmp_path / target, tmp_path / "device"))
    preprocessing = json.loads((bundle / "run.json").read_text())["preprocessing"]
    assert (preprocessing["bits"], preprocessing["max_megapixels"]) == (12, 1)
    result = predict(bundle, root / "test")
    assert result.returncode == 0, result.stderr
    expected = pd.read_csv(tmp_path / "results/squeezenet1_1/predictions/int8_static.csv")
    expected = expected[expected["split"] == "test"].set_index("path")
    found = pd.read_csv(io.StringIO(result.stdout))
    found.index = [Path(path).relative_to(root).as_posix() for path in found["path"]]
    assert found["p_good"].to_dict() == expected["p_good"].to_dict()
    Image.new("L", (2000, 1000)).save(tmp_path / "large.png")
    result = predict(bundle, tmp_path / "large.png")
    assert result.returncode == 1
    assert "2 megapixels, and 1 are allowed" in result.stderr


def test_class_folders_alone_go_all_the_way_to_the_report(tmp_path, image_folder):
    root = image_folder(
        *(f"{label}/{i}.jpg" for label in ("good", "black", "sour") for i in range(20))
    )
    left_out = dict.fromkeys(["int8_mixed", "int8_qat"])
    run_small_sweep(tmp_path, {"root": str(root)}, left_out, "results/pareto.md")
    table = pd.read_csv(tmp_path / "results/pareto.csv").set_index("variant")
    folder = tmp_path / "results/squeezenet1_1"
    for variant in ("int8_ort_default", "int8_static", "int8_weight_only"):
        evaluated, floats = (
            pd.read_csv(folder / f"{kind}/{variant}.csv").set_index("path")
            for kind in ("predictions", "float_kernels")
        )
        assert set(floats["split"]) == {"test"}
        agreement = (evaluated.loc[floats.index, "predicted"] == floats["predicted"]).mean()
        assert table.loc[variant, "kernel_agreement"] == pytest.approx(agreement, abs=1e-6)


@pytest.mark.parametrize(
    ("on_leakage", "words"),
    [
        (
            "warn",
            "1 pair(s) of near-duplicates lie across splits, such as test/good/1.png and "
            "train/good/0.png",
        ),
        ("drop", "they are dropped where less held out"),
        ("fail", "or set dataset.on_leakage to drop or warn"),
    ],
)
def test_a_test_image_that_was_trained_on_is_found(tmp_path, image_folder, on_leakage, words):
    root = image_folder(
        *(
            f"{split}/{label}/{i}.png"
            for split in ("train", "val", "test")
            for label in ("good", "bad")
            for i in range(3)
        )
    )
    with Image.open(root / "train/good/0.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(root / "test/good/1.png")
    configure(tmp_path, dataset={"root": str(root), "on_leakage": on_leakage})
    result = snakemake(tmp_path, "--cores", "1", "results/dataset/manifest.csv")
    assert words in result.stderr
    assert (result.returncode != 0) == (on_leakage == "fail")
    if on_leakage == "fail":
        return
    pairs = pd.read_csv(tmp_path / "results/dataset/near_duplicates.csv")
    assert pairs[["first_path", "second_path"]].to_numpy().tolist() == [
        ["test/good/1.png", "train/good/0.png"]
    ]
    splits = pd.read_csv(tmp_path / "results/dataset/manifest.csv").set_index("path")["split"]
    assert splits["train/good/0.png"] == ("dropped" if on_leakage == "drop" else "train")
    assert splits["test/good/1.png"] == "test"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trian": {}}, "unknown key 'trian'; did you mean 'train'?"),
        (
            {"backbones": ["mobilenet_v3_smal"]},
            "no classifier 'mobilenet_v3_smal'; did you mean 'mobilenet_v3_small'?",
        ),
        ({"dataset": {"root": "nowhere"}}, "the folder nowhere does not exist"),
        (
            {"dataset": {"good_classes": ["goood"]}},
            "the data set has no class 'goood'; did you mean 'good'?",
        ),
        (
            {"bench": {"device_results": {"pi": ["none.json"]}}},
            "bench.device_results.pi: there is no file none.json",
        ),
        (
            {"overrides": {"squeezenet1_1": {"weights": "none.pth"}}},
            "squeezenet1_1.weights: there is no file none.pth",
        ),
    ],
)
def test_a_fault_stops_the_run_at_once(tmp_path, changes, words):
    configure(tmp_path, **changes)
    result = snakemake(tmp_path, "--cores", "1")
    assert result.returncode != 0
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_the_rule_graph_is_drawn_by_mermaid(tmp_path):
    configure(tmp_path)
    result = snakemake(tmp_path, "--rulegraph", "mermaid-js", "--quiet", "all")
    assert result.returncode == 0, result.stderr
    assert result.stdout.lstrip().startswith(("---", "flowchart", "graph"))
    for rule in (
        "train",
        "export_fp32",
        "calibrate",
        "quantize_int8",
        "evaluate",
        "bench",
        "report",
    ):
        assert rule in result.stdout


def test_snakemakes_own_report_holds_figures_and_tables(finished, tmp_path):
    result = snakemake(
        finished, "--cores", "1", "results/pareto.md", "--report", str(tmp_path / "report.html")
    )
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "report.html").read_text()
    for words in ("front.png", "mobilenet_v3_small", "int8_static", "Sensitivity", "Training"):
        assert words in page


def test_every_script_has_its_rule():
    text = "".join(file.read_text() for file in (PROJECT / "workflow/rules").glob("*.smk"))
    scripts = {file.stem for file in (PROJECT / "scripts").glob("*.py")}
    assert scripts == set(re.findall(r'"python3 \{params\.scripts:q\}/(\w+)\.py ', text))
    assert scripts <= set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
