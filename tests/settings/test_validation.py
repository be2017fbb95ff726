"""A wrong configuration stops the run at once, with one sentence that names the key."""

import copy
import json

import pytest
import yaml
from beansweep.common import emulator
from beansweep.common.errors import UserError
from beansweep.settings import old_names, validation
from conftest import PROJECT

SCHEMA = PROJECT / "workflow/schemas/config.schema.yaml"
DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())


def changed(path: str, value) -> dict:
    """The default configuration with one key set, or taken away where `value` is `...`."""
    result = copy.deepcopy(DEFAULT)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


def test_the_default_is_valid():
    validation.validate(DEFAULT, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trian", {}, "unknown key 'trian'; did you mean 'train'"),
        ("train.epoch", 3, "unknown key 'train.epoch'; did you mean 'epochs'"),
        ("deploy.max_p50", 3, "unknown key 'deploy.max_p50'; did you mean 'max_p50_ms'"),
        ("train.epochs", ..., "the key 'train.epochs' is missing"),
        ("train.epochs", 0, r"train\.epochs is wrong: 0 is less"),
        ("train.epochs", "9", r"train\.epochs is wrong: '9' is not of type"),
        ("train.epochs", 2.5, r"train\.epochs is wrong"),
        ("train.learning_rate", "1e-3", r"train\.learning_rate is wrong: .*; write 0\.001$"),
        ("train.learning_rate", "1e-5", r"; write 1\.0e-05$"),
        ("train.batch_size", 8.0, r"train\.batch_size is wrong: 8\.0 is not .*; write 8$"),
        ("bench.queries", 800.0, r"bench\.queries is wrong: .*; write 800$"),
        ("bench.threads", [1, 2.0], r"bench\.threads\.1 is wrong: .*; write 2$"),
        ("bench.threads", 2.0, r"bench\.threads is wrong: .*; write 2$"),
        ("train.epochs", "3", r"; write 3 without quotes, in a file that --configfile names$"),
        ("variants.int8_static.per_channel", "false", "; write false without quotes"),
        ("variants.int8_static.reduce_range", "true", "; write true without quotes"),
        ("deploy.max_p50_ms", "null", "; write null without quotes"),
        ("train.device", "gpu", r"train\.device is wrong: 'gpu' is not one of"),
        ("train.image_size", 8, r"train\.image_size is wrong"),
        ("backbones", [], r"backbones is wrong"),
        ("backbones", ["a/../b"], r"backbones\.0 is wrong"),
        ("backbones", ["x@abc"], "'x@abc' is no name: a backbone is resnet18"),
        ("backbones", ["timm/"], "'timm/' is no name: a backbone is resnet18"),
        ("overrides", {"hf-hub:foo": {}}, "'hf-hub:foo' is no name: a backbone is resnet18"),
        ("backbones", ["a", "a"], r"backbones is wrong"),
        (
            "backbones",
            ["mobilenet_v3_small@16"],
            "mobilenet_v3_small@16: an image size is from 32 to 1024 pixels",
        ),
        ("dataset.good_classes", yaml.safe_load("[010]"), "put it in quotes, exactly as it is"),
        ("dataset.good_classes", yaml.safe_load("[yes]"), "put it in quotes, exactly as it is"),
        ("dataset.good_classes", yaml.safe_load("[null]"), "put it in quotes, exactly as it is"),
        ("dataset.good_classes", yaml.safe_load("[2024-01-31]"), "put it in quotes, exactly"),
        ("dataset.good_classes", "good", r"good_classes is wrong.*; write it as a list: \[good\]"),
        ("dataset.root", 2024, "put it in quotes, exactly as it is"),
        ("train", "{epochs: 2}", r"train is wrong: .* write its keys into a file"),
        ("backbones", ["timm/x/y"], r"backbones\.0 is wrong"),
        ("backbones", ["resnet18@"], r"backbones\.0 is wrong"),
        (
            "overrides",
            {"mobilenet_v3_small": {"epoch": 1}},
            "unknown key 'overrides.mobilenet_v3_small.epoch'",
        ),
        (
            "variants.int8_static.calibration",
            ["minmax", "entrpy"],
            "no calibration named 'entrpy'; did you mean 'entropy'",
        ),
        ("variants.int8_static.calibration", [], r"int8_static\.calibration is wrong"),
        (
            "variants.int8_static.per_chanel",
            True,
            "int8_static.per_chanel'; did you mean 'per_channel'",
        ),
        ("variants.int8_static.reduce_range", "never", r"int8_static\.reduce_range is wrong"),
        (
            "variants.int8_static.quantizer",
            "statik",
            r"int8_static\.quantizer is wrong: 'statik' is not one of",
        ),
        ("variants.mine", {}, r"the key 'variants\.mine\.quantizer' is missing"),
        (
            "variants.int8_static.quantizer",
            "dynamic",
            "int8_static is wrong: quantizer dynamic has no keys calibration, .*; .* choose an",
        ),
        (
            "variants.int8_weight_only.per_channel",
            True,
            r"unknown key 'variants\.int8_weight_only\.per_channel'",
        ),
        (
            "variants.int8_dynamic.weight_type",
            ...,
            r"the key 'variants\.int8_dynamic\.weight_type' is missing",
        ),
        (
            "variants.int8_mixed.base",
            "int8_weight_only",
            "'int8_weight_only' is not a static variant; those are int8_ort_default, ",
        ),
        ("variants.int8_mixed.base", "int8", "'int8' is not a static variant"),
        (
            "variants.int8_qat.base",
            "int8_weight_only",
            "'int8_weight_only' is not a static variant",
        ),
        ("variants.int8_qat.epochs", 0, r"int8_qat\.epochs is wrong"),
        (
            "variants.int8_ort_default.bit_exact",
            True,
            r"int8_ort_default\.bit_exact: it needs integer_rewrites: true and reduce_range: true",
        ),
        ("quantization.instruction_set", "AVX3", r"instruction_set is wrong: 'AVX3' is not one of"),
        ("quantization.max_accuracy_drop", -1, r"max_accuracy_drop is wrong"),
        (
            "variants.fp32",
            DEFAULT["variants"]["int8_static"],
            "fp32: every backbone has this variant already",
        ),
        (
            "variants.control_model",
            DEFAULT["variants"]["int8_static"],
            "control_model: the bench has a control of this name",
        ),
        ("variants.int8_static.weight_type", "int8", r"weight_type is wrong"),
        ("calibration.minmax.method", "max", r"calibration\.minmax\.method is wrong"),
        ("dataset.fractions.val", 0.7, r"dataset\.fractions\.val is wrong"),
        ("devices", {"pi": "cortex-a72"}, r"devices\.pi is wrong"),
        ("devices", {"pi": {}}, r"the key 'devices\.pi\.emulate' is missing"),
        ("devices", {"pi": {"emulate": "a b"}}, "'a b' is no name: QEMU's name of a processor"),
        ("devices", {"pi": {"emulate": "max", "image": 9}}, "did you mean 'images'"),
        ("deploy.min_macro_f1", 85, r"deploy\.min_macro_f1 is wrong"),
        ("deploy.objective", "accuracy", r"deploy\.objective is wrong"),
        ("bench.threads", True, r"bench\.threads is wrong"),
        ("bench.threads", [1, 1], r"bench\.threads is wrong"),
        ("bench.processes", 1, r"bench\.processes is wrong"),
        ("train.seeds", [], r"train\.seeds is wrong"),
        ("overrides.efficientnet_b0", {"seeds": [1, 2]}, r"set train\.seeds"),
        ("dataset.on_leakage", "ignore", r"dataset\.on_leakage is wrong"),
        (
            "overrides.efficientnet_b0",
            {"variants": {"int8_gat": None}},
            r"efficientnet_b0\.variants: there is no variant 'int8_gat'; did you mean 'int8_qat'",
        ),
        (
            "overrides.efficientnet_b0",
            {"variants": {"int8_static": None, "int8_qat": None}},
            r"int8_mixed starts from int8_static: take it out too \(int8_mixed: null\)",
        ),
        (
            "overrides.efficientnet_b0",
            {"variants": {"int8_qat": {"epochs": 2}}},
            r"overrides\.efficientnet_b0\.variants\.int8_qat is wrong",
        ),
        ("train.variants", {"int8_qat": None}, "unknown key 'train.variants'"),
        ("variants.int8_static.weight_type", "QUInt8", r"gptq is for weight_type QInt8"),
    ],
)
def test_a_fault_is_named_in_one_sentence(path, value, words):
    with pytest.raises(UserError, match=words) as caught:
        validation.validate(changed(path, value), SCHEMA)
    assert "\n" not in str(caught.value)


def test_the_bit_exact_variant_that_is_a_comment_is_valid():
    text = (PROJECT / "config.yaml").read_text()
    config = yaml.safe_load(text.replace("# int8_bit_exact:", "int8_bit_exact:"))
    assert config["variants"]["int8_bit_exact"].pop("bit_exact") is True
    assert DEFAULT["variants"]["int8_static"].items() > config["variants"]["int8_bit_exact"].items()
    config["variants"]["int8_bit_exact"]["bit_exact"] = True
    validation.validate(config, SCHEMA)


@pytest.mark.parametrize(
    ("backbones", "valid"),
    [(["efficientnet_b0@64"], True), (["efficientnet_b0@64", "efficientnet_b0"], False)],
)
def test_the_overrides_of_a_network_and_of_its_whole_name_count_together(backbones, valid):
    config = changed("backbones", backbones)
    config["overrides"] = {
        "efficientnet_b0": {"variants": {"int8_static": None}},
        "efficientnet_b0@64": {"variants": {"int8_mixed": None, "int8_qat": None}},
    }
    if valid:
        validation.validate(config, SCHEMA)
        return
    with pytest.raises(UserError, match=r"efficientnet_b0\.variants: int8_mixed starts from"):
        validation.validate(config, SCHEMA)


def test_a_training_that_ends_in_its_warm_up_is_pointed_out():
    assert not validation.endless_warm_ups(changed("train.epochs", 2))
    (line,) = validation.endless_warm_ups(changed("overrides", {"efficientnet_b0": {"epochs": 1}}))
    assert line.startswith("the training of efficientnet_b0 ends before its rate is at")


def test_training_starts_from_signed_weights():
    config = changed("variants.int8_ort_default.weight_type", "QUInt8")
    config["variants"]["int8_qat"] = {**config["variants"]["int8_qat"], "base": "int8_ort_default"}
    with pytest.raises(UserError, match=r"int8_qat\.base: training is for weight_type QInt8"):
        validation.validate(config, SCHEMA)


def test_an_unknown_backbone_suggests_a_near_one(tmp_path):
    with pytest.raises(
        UserError, match="no classifier 'mobilenet_v3_smal'; did you mean 'mobilenet_v3_small'"
    ):
        validation.check_backbones(["mobilenet_v3_smal"], tmp_path / "cache.json")
    validation.check_backbones(["mobilenet_v3_small"], tmp_path / "cache.json")


def test_good_classes_must_exist_and_leave_a_defect():
    with pytest.raises(UserError, match="no class 'god'; did you mean 'good'"):
        validation.check_classes(["god"], ["black", "good"])
    with pytest.raises(UserError, match="leave the defects out"):
        validation.check_classes(["black", "good"], ["black", "good"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "quantization.max_loss",
            0.01,
            "quantization.max_loss is now called quantization.max_accuracy_drop",
        ),
        (
            "variants.int8_static.rewrites",
            True,
            "variants.int8_static.rewrites is now called variants.int8_static.integer_rewrites",
        ),
        (
            "variants.int8_weight_only.quantizer",
            "weights",
            "variants.int8_weight_only.quantizer: weights is now called weight_only",
        ),
        ("variants.int8_reference", None, "int8_reference is now called int8_ort_default"),
        ("variants.int8_weights", None, "variants.int8_weights is now called int8_weight_only"),
        (
            "variants.int8_reference",
            {"per_channel": False},
            "variants.int8_reference is now called int8_ort_default",
        ),
        (
            "variants.int8_weights",
            {"rounding": "nearest"},
            "variants.int8_weights is now called int8_weight_only",
        ),
    ],
)
def test_an_old_name_is_refused_with_the_new_one(path, value, words):
    with pytest.raises(UserError, match=words) as caught:
        old_names.refuse(changed(path, value))
    assert str(caught.value).endswith(": rename it")
    assert "\n" not in str(caught.value)


def test_a_variant_of_ones_own_may_have_an_old_name():
    config = changed("variants.int8_reference", DEFAULT["variants"]["int8_static"])
    old_names.refuse(config)
    validation.validate(config, SCHEMA)


@pytest.mark.parametrize("value", [None, [], "text", {"variants": None}, {"quantization": []}])
def test_the_check_of_old_names_leaves_other_faults_to_the_schema(value):
    old_names.refuse(value if isinstance(value, dict) else {"variants": value})


def test_an_override_for_a_backbone_that_is_not_in_the_sweep_is_a_warning():
    config = {**DEFAULT, "overrides": {"mobilenet_v3_smal": {"weights": "nowhere.pth"}}}
    validation.validate(config, SCHEMA)
    validation.check_weights(config)
    (line,) = validation.unused_overrides(config).values()
    assert "'mobilenet_v3_smal' is not among backbones; did you mean 'mobilenet_v3_small'" in line
    assert not validation.unused_overrides({**config, "overrides": {"efficientnet_b0": {}}})


@pytest.mark.parametrize(
    ("machine", "refused"),
    [
        ({"architecture": "x86_64"}, True),
        ({"architecture": "AMD64"}, True),
        ({"architecture": "aarch64"}, False),
        ({"architecture": "arm64"}, False),
        ({}, False),
    ],
)
def test_a_device_is_not_timed_on_one_architecture_and_emulated_as_another(
    monkeypatch, tmp_path, machine, refused
):
    monkeypatch.setattr(emulator, "check", lambda *_: None)
    path = tmp_path / "pi5.json"
    path.write_text(json.dumps({"machine": machine}))
    arguments = {"pi5": {"emulate": "cortex-a76"}}, {"pi5": [str(path)]}, tmp_path
    if not refused:
        validation.check_devices(*arguments)
        return
    words = (
        r"devices.pi5.emulate: cortex-a76 is of aarch64, and the times in .*pi5.json are from x86"
    )
    with pytest.raises(UserError, match=words):
        validation.check_devices(*arguments)
