"""What each stage gets from the configuration."""

import copy
import json

import pytest
import yaml
from beansweep.common import pinning
from beansweep.common.errors import UserError
from beansweep.settings import rule_text, sweep
from beansweep.settings.sweep import Sweep
from conftest import PROJECT

SCHEMA = PROJECT / "workflow/schemas/config.schema.yaml"
DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())


def configured(**changes) -> Sweep:
    """A sweep of the default configuration with changes: `train__epochs=3`, or a whole section."""
    config = copy.deepcopy(DEFAULT)
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = config
        for section in sections:
            place = place[section]
        place[key] = value
    return Sweep(config)


# Names


def test_a_backbone_has_a_folder_and_each_further_seed_one_more():
    found = configured(backbones=["timm/ghostnet_100", "resnet18@64"], train__seeds=[3, 5])
    assert found.backbones == ["timm-ghostnet_100", "resnet18@64"]
    assert found.runs == [
        "timm-ghostnet_100",
        "timm-ghostnet_100.seed5",
        "resnet18@64",
        "resnet18@64.seed5",
    ]


def test_variants_are_named_in_their_order_and_by_their_quantizer():
    found = configured()
    assert found.int8_variants == list(DEFAULT["variants"])
    assert found.variants == ["fp32", *DEFAULT["variants"]]
    assert found.quantized_by("static") == ["int8_ort_default", "int8_static"]
    assert found.quantized_by("mixed", "qat") == ["int8_mixed", "int8_qat"]


# Reading


def test_a_variant_that_is_null_is_left_out(tmp_path):
    config = copy.deepcopy(DEFAULT)
    config["variants"]["int8_dynamic"] = None
    (tmp_path / "backbones.json").write_text(str(DEFAULT["backbones"]).replace("'", '"'))
    found = sweep.read(config, [], SCHEMA, tmp_path, tmp_path)
    assert "int8_dynamic" not in found.variants
    assert "int8_static" in found.variants


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("quantization", {"max_loss": 0.1}, "max_loss is now called"),
        ("variants", {"int8_reference": None}, "int8_reference is now called int8_ort_default"),
        ("variants", None, "variants is wrong"),
        ("train", {}, "the key 'train.weights' is missing"),
        ("train", {**DEFAULT["train"], "weights": "none.pth"}, "there is no file none.pth"),
        (
            "bench",
            {**DEFAULT["bench"], "device_results": {"pi": ["none.json"]}},
            "there is no file none.json",
        ),
        ("backbones", ["resnet1"], "no classifier 'resnet1'"),
    ],
)
def test_a_wrong_configuration_is_not_read(tmp_path, section, value, words):
    with pytest.raises(UserError, match=words):
        sweep.read({**copy.deepcopy(DEFAULT), section: value}, [], SCHEMA, tmp_path, tmp_path)


def test_the_home_folder_stands_for_a_tilde_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = copy.deepcopy(DEFAULT)
    config["dataset"]["root"] = "~/beans"
    config["train"]["weights"] = "~/a.pth"
    config["overrides"] = {"mobilenet_v3_small": {"weights": "~/b.pth"}}
    config["bench"]["device_results"] = {"pi5": ["~/pi5.json"]}
    for name in ("a.pth", "b.pth", "pi5.json"):
        (tmp_path / name).touch()
    (tmp_path / "backbones.json").write_text(json.dumps(DEFAULT["backbones"]))
    found = sweep.read(config, [], SCHEMA, tmp_path, tmp_path)
    assert found.images == f"{tmp_path}/beans"
    assert found.weights_files("efficientnet_b0") == [f"{tmp_path}/a.pth"]
    assert found.weights_files("mobilenet_v3_small") == [f"{tmp_path}/b.pth"]
    assert found.report_inputs([])["devices"] == [f"{tmp_path}/pi5.json"]


# The data set


def test_rendered_images_are_taken_where_there_is_no_folder(tmp_path):
    found = configured()
    assert found.images_are_rendered
    assert found.images == sweep.RENDERED_IMAGES
    assert found.dataset_settings(tmp_path) == {
        key: value
        for key, value in DEFAULT["dataset"].items()
        if key not in ("root", "good_classes")
    }
    with pytest.raises(UserError, match="has no class 'god'"):
        configured(dataset__good_classes=["god"]).dataset_settings(tmp_path)


def test_a_folder_of_ones_own_counts_by_its_content(tmp_path, image_folder):
    root = image_folder("good/1.png", "bad/1.png")
    found = configured(dataset__root=str(root))
    assert not found.images_are_rendered
    assert found.images == str(root)
    before = found.dataset_settings(tmp_path)
    assert before == found.dataset_settings(tmp_path)
    image_folder("bad/2.png")
    assert before != found.dataset_settings(tmp_path)
    with pytest.raises(UserError, match="the folder nowhere does not exist"):
        configured(dataset__root="nowhere").dataset_settings(tmp_path)


# Training


def test_the_overrides_of_a_name_with_an_image_size_win_over_those_of_its_network():
    found = configured(
        backbones=["resnet18", "resnet18@64"],
        overrides={"resnet18": {"epochs": 5, "batch_size": 4}, "resnet18@64": {"epochs": 7}},
    )
    plain, small = (found.train_settings(run) for run in found.runs)
    assert (plain["backbone"], plain["epochs"], plain["batch_size"]) == ("resnet18", 5, 4)
    assert (small["backbone"], small["epochs"], small["batch_size"]) == ("resnet18@64", 7, 4)
    assert (plain["image_size"], small["image_size"]) == (DEFAULT["train"]["image_size"], 64)


def test_each_run_has_its_seed_and_not_the_list_of_all():
    found = configured(backbones=["resnet18"], train__seeds=[3, 5])
    assert [found.train_settings(run)["seed"] for run in found.runs] == [3, 5]
    assert "seeds" not in found.train_settings("resnet18")


def test_keys_of_pretrained_weights_count_where_there_are_weights(tmp_path):
    keys = {"frozen_epochs", "body_rate"}
    assert not keys & set(configured().train_settings("efficientnet_b0"))
    pretrained = configured(train__weights="imagenet").train_settings("efficientnet_b0")
    assert keys <= set(pretrained)
    assert "weights_sha256" not in pretrained
    (tmp_path / "weights.pth").write_bytes(b"weights")
    found = configured(train__weights=str(tmp_path / "weights.pth"))
    before = found.train_settings("efficientnet_b0")["weights_sha256"]
    (tmp_path / "weights.pth").write_bytes(b"other weights")
    assert found.train_settings("efficientnet_b0")["weights_sha256"] != before


@pytest.mark.parametrize(
    ("processors", "threads", "cores", "expected"),
    [
        (2, 1, 4, 2),
        (2, 2, 4, 4),
        (4, 1, 4, 1),
        (4, 2, 2, 2),
        (4, 8, 4, 4),
        (8, 1, 1, 1),
        (16, 4, 4, 4),
        (16, 4, 16, 4),
        # A job of a cluster has cores of its own.
        (2, 4, None, 4),
    ],
)
def test_a_training_takes_the_cores_of_its_threads(
    monkeypatch, processors, threads, cores, expected
):
    monkeypatch.setattr(pinning, "cpus", lambda: processors)
    found = configured(train__threads=threads)
    assert found.training_threads("efficientnet_b0", cores) == expected


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", 0), ("cpu", 0), ("mps", 0), ("cuda", 1), ("cuda:1", 1)]
)
def test_a_training_takes_a_gpu_where_one_is_asked_for(device, expected):
    assert configured(train__device=device).gpus("efficientnet_b0") == expected


@pytest.mark.parametrize(
    ("threads", "cores", "expected"), [(1, 4, 4), (1, None, 1), ([1, 4], None, 4), ([4], 2, 2)]
)
def test_a_bench_takes_all_cores_of_its_run_or_those_it_times(threads, cores, expected):
    assert configured(bench__threads=threads).bench_threads(cores) == expected


def test_the_last_listed_training_comes_first():
    found = configured()
    priorities = [found.training_priority(run) for run in found.runs]
    assert priorities == sorted(priorities)
    assert priorities[0] > 0


def test_what_is_known_before_trainings_comes_before_them():
    found = configured()
    trainings = [found.training_priority(run) for run in found.runs]
    inspections = [found.inspection_priority(run) for run in found.runs]
    assert inspections == sorted(inspections)
    assert max(trainings) < min(inspections) <= max(inspections) < found.decode_priority


# Quantization


def test_the_instruction_set_is_the_configured_one_or_this_machines(monkeypatch):
    assert configured(quantization__instruction_set="ARM NEON").instruction_set == "ARM NEON"
    monkeypatch.setattr(sweep.processors, "detect", lambda: "AVX2")
    assert configured().instruction_set == "AVX2"


def test_auto_is_settled_by_a_file_and_the_settings_are_alike_on_every_machine(monkeypatch):
    found = configured()
    assert found.quantize_inputs("net", "int8_static")["instruction_set"] == sweep.INSTRUCTION_SET
    for name in ("AVX2", "ARM i8mm"):
        monkeypatch.setattr(sweep.processors, "detect", lambda name=name: name)
        assert found.quantize_settings("int8_static")["instruction_set"] == "auto"
    named = configured(quantization__instruction_set="AVX2")
    assert "instruction_set" not in named.quantize_inputs("net", "int8_static")
    assert named.quantize_settings("int8_static")["instruction_set"] == "AVX2"


def test_that_a_variant_is_a_baseline_matters_to_the_report_alone():
    plain = configured(variants__int8_static__baseline=False)
    baseline = configured(variants__int8_static__baseline=True)
    assert plain.quantize_settings("int8_static") == baseline.quantize_settings("int8_static")
    assert plain.report_settings({})["baselines"] == ["int8_ort_default", "int8_dynamic"]
    assert "int8_static" in baseline.report_settings({})["baselines"]


def test_a_variant_depends_on_its_recipe_and_what_it_shares():
    found = configured(quantization__max_accuracy_drop=0.1, train__batch_size=7)
    assert found.mixed_settings("int8_mixed") == {
        "quantizer": "mixed",
        "base": "int8_static",
        "max_accuracy_drop": 0.1,
    }
    qat = found.qat_settings("efficientnet_b0", "int8_qat")
    assert qat == {
        **DEFAULT["variants"]["int8_qat"],
        "device": "auto",
        "batch_size": 7,
        "seed": 0,
        "threads": DEFAULT["train"]["threads"],
    }


def test_a_variant_is_quantized_from_the_graph_of_its_recipe():
    found = configured(quantization__instruction_set="AVX2")
    assert found.quantize_inputs("net", "int8_ort_default") == {
        "model": "results/net/prepared/exported.onnx",
        "calibrations": ["results/net/calibration/exported-minmax.json"],
    }
    assert found.quantize_inputs("net", "int8_dynamic") == {
        "model": "results/net/prepared/exported.onnx"
    }
    static = found.quantize_inputs("net", "int8_static")
    assert static["model"] == "results/net/prepared/rewritten.onnx"
    assert static["calibrations"] == [
        f"results/net/calibration/rewritten-{name}.json"
        for name in DEFAULT["variants"]["int8_static"]["calibration"]
    ]


@pytest.mark.parametrize(
    ("calibration", "bias_correction", "chosen"),
    [
        (["minmax"], True, False),
        (["minmax"], "auto", True),
        (["minmax", "entropy"], True, True),
    ],
)
def test_the_predictions_of_fp32_are_needed_where_a_recipe_leaves_a_choice(
    calibration, bias_correction, chosen
):
    found = configured(
        variants__int8_static__calibration=calibration,
        variants__int8_static__bias_correction=bias_correction,
    )
    inputs = found.quantize_inputs("net", "int8_static")
    assert ("fp32_predictions" in inputs) == chosen


def test_mixed_and_trained_variants_start_from_their_base():
    found = configured()
    mixed = found.mixed_inputs("net", "int8_mixed")
    trained = found.qat_inputs("net", "int8_qat")
    for inputs in (mixed, trained):
        assert inputs["model"] == "results/net/prepared/rewritten.onnx"
        assert inputs["base_model"] == "results/net/int8_static.onnx"
        assert inputs["base_metadata"] == "results/net/int8_static.json"
        assert inputs["fp32_predictions"] == "results/net/predictions/fp32.csv"
    assert mixed["sensitivity"] == "results/net/sensitivity/int8_static.csv"
    assert len(mixed["calibrations"]) == 4
    assert found.sensitivity_inputs("net", "int8_static") == {
        "model": "results/net/prepared/rewritten.onnx",
        "metadata": "results/net/int8_static.json",
        "calibrations": mixed["calibrations"],
    }


# Benchmark, report and bundle


def test_the_results_of_devices_matter_to_the_report_alone():
    found = configured(bench__device_results={"pi": ["a.json", "b.json"]})
    assert found.bench_settings() == configured().bench_settings()
    assert found.report_settings({})["devices"] == {"pi": ["a.json", "b.json"]}
    assert found.report_inputs({})["devices"] == ["a.json", "b.json"]


def test_each_variant_that_may_be_deployed_is_emulated_on_each_device():
    devices = {"pi": {"emulate": "cortex-a72"}, "pc": {"emulate": "Nehalem", "images": 50}}
    found = configured(devices=devices)
    run = found.backbones[0]
    variants = ["fp32", "int8_static", "int8_mixed", "int8_qat", "int8_weight_only"]
    assert found.emulated_variants(run) == variants
    files = [f"results/{run}/emulated/{name}/{own}.csv" for name in devices for own in variants]
    assert found.emulated_files(run) == files
    assert set(files) < set(found.report_inputs({})["results"])
    assert not set(files) & set(found.finalists_inputs({})["results"])
    assert found.emulation_settings("pi") == {"emulate": "cortex-a72", "images": None}
    assert found.emulation_settings("pc") == {"emulate": "Nehalem", "images": 50}
    assert found.report_settings({})["emulated"] == {"pi": "cortex-a72", "pc": "Nehalem"}


def test_a_variant_is_not_emulated_again_where_it_may_be_its_base():
    found = configured(devices={"pi": {"emulate": "cortex-a72"}})
    run = found.backbones[0]
    assert "base_metadata" not in found.emulation_inputs(run, "pi", "int8_static")
    assert found.emulation_inputs(run, "pi", "int8_mixed")["base_predictions"] == (
        f"results/{run}/emulated/pi/int8_static.csv"
    )
    found.config["variants"]["int8_static"]["baseline"] = True
    assert "base_metadata" not in found.emulation_inputs(run, "pi", "int8_mixed")


def test_the_time_for_the_finalists_times_no_backbone_again():
    found = configured(bench__finalist_minutes=7)
    assert found.bench_settings() == configured().bench_settings()
    assert found.finalists_settings({})["bench"]["finalist_minutes"] == 7


def test_the_confidence_times_no_backbone_again_but_may_change_the_finalists():
    found = configured(report__confidence=0.8)
    assert found.bench_settings() == configured().bench_settings()
    assert found.finalists_settings({})["report"]["confidence"] == 0.8


def test_finalists_are_chosen_from_the_table_of_the_report_without_what_is_missing():
    found = configured(backbones=["resnet18", "squeezenet1_1"], train__seeds=[0, 1])
    for missing in ({}, {"resnet18": "train: killed"}):
        chosen, report = found.finalists_settings(missing), found.report_settings(missing)
        for key in ("backbones", "variants", "baselines", "good_classes", "report", "deploy"):
            assert chosen[key] == report[key]
        inputs = found.finalists_inputs(missing)
        assert set(inputs["results"]) < set(found.report_inputs(missing)["results"])
        assert "results/squeezenet1_1/int8_qat.onnx" in inputs["models"]
        assert any("resnet18" in path for path in inputs["models"]) == (not missing)


def test_a_report_lacks_what_is_missing_and_says_why():
    found = configured(backbones=["resnet18", "squeezenet1_1"], train__seeds=[0, 1])
    whole = found.report_settings({})
    assert whole["backbones"] == ["resnet18", "squeezenet1_1"]
    assert whole["runs"]["resnet18"] == ["resnet18", "resnet18.seed1"]
    missing = {"resnet18": "train: killed", "squeezenet1_1.seed1": "train: killed"}
    part = found.report_settings(missing)
    assert part["backbones"] == ["squeezenet1_1"]
    assert part["runs"] == {"squeezenet1_1": ["squeezenet1_1"]}
    assert part["missing"] == missing
    inputs = found.report_inputs(missing)
    assert inputs["fp32_predictions"] == ["results/squeezenet1_1/predictions/fp32.csv"]
    assert not any("resnet18" in path for path in inputs["results"])


def test_a_report_shows_every_result_of_a_backbone():
    results = configured(backbones=["resnet18"]).report_inputs({})["results"]
    for path in (
        "history.csv",
        "latency.json",
        "fp32.json",
        "int8_qat.json",
        "predictions/fp32.csv",
        "predictions/int8_qat.csv",
        "float_kernels/int8_qat.csv",
        "sensitivity/int8_static.csv",
    ):
        assert f"results/resnet18/{path}" in results
    assert "results/resnet18/float_kernels/fp32.csv" not in results
    assert "results/resnet18/sensitivity/int8_qat.csv" not in results
    assert len(set(results)) == len(results)


def test_the_bits_of_the_camera_reach_training_and_the_report():
    assert "bits" not in configured().train_settings("efficientnet_b0")
    found = configured(dataset__bits=12)
    assert found.train_settings("efficientnet_b0")["bits"] == 12
    assert found.report_settings({})["bits"] == 12


def test_a_bundle_depends_on_the_good_classes_the_limits_and_the_verdicts():
    assert configured().deploy_settings() == {
        "good_classes": DEFAULT["dataset"]["good_classes"],
        "max_megapixels": DEFAULT["dataset"]["max_megapixels"],
        "deploy": DEFAULT["deploy"],
        "report": DEFAULT["report"],
    }


# Text for rules


def test_settings_are_the_same_text_in_any_order():
    assert rule_text.settings({"b": 1, "a": [2]}) == rule_text.settings({"a": [2], "b": 1})


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (None, ""),
        ([], ""),
        ("a b.csv", "--files 'a b.csv'"),
        (["a.csv", "$(touch harm)"], "--files a.csv '$(touch harm)'"),
    ],
)
def test_an_option_is_quoted_and_is_left_out_without_files(paths, text):
    assert rule_text.option("--files", paths) == text


def test_a_pattern_of_no_names_matches_nothing():
    assert rule_text.alternatives(["a.b", "c"]) == r"a\.b|c"
    assert rule_text.alternatives([]) == "(?!)"


def test_overrides_take_variants_out_for_one_network():
    found = configured(
        backbones=["resnet18", "resnet18@64", "squeezenet1_1"],
        overrides={
            "resnet18": {"epochs": 5, "variants": {"int8_qat": None}},
            "resnet18@64": {"variants": {"int8_dynamic": None}},
        },
    )
    missing = {run: set(found.variants) - set(found.variants_of(run)) for run in found.runs}
    assert missing == {
        "resnet18": {"int8_qat"},
        "resnet18@64": {"int8_qat", "int8_dynamic"},
        "squeezenet1_1": set(),
    }
    assert "variants" not in found.train_settings("resnet18")
    assert found.train_settings("resnet18@64")["epochs"] == 5
    assert "results/resnet18/int8_qat.onnx" not in found.all_models()
    assert not [path for path in found.report_inputs([])["results"] if "resnet18/int8_qat" in path]
    assert found.report_settings({})["left_out"]["resnet18"] == ["int8_qat"]
    assert "int8_qat" not in found.inspect_recipes("resnet18")
