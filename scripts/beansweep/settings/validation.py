"""The configuration: checked before any job starts, each fault named in one sentence."""

import difflib
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.models import backbone_names


def validate(config: dict, schema: Path) -> None:
    """Check a whole configuration.

    Raises
    ------
    UserError
        A key is unknown or missing, or a value has the wrong type or range, or names something
        that the configuration does not define.
    """
    for where, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config: {where} is wrong: {value} is not a finite number")
    error = best_match(_validator(schema).iter_errors(config))
    if error:
        raise UserError(_explain(error))
    for name, variant in config["variants"].items():
        if name == "fp32":
            raise UserError(
                "variants.fp32: every backbone has this variant already; choose another name"
            )
        if name == "latency":
            raise UserError(
                "variants.latency: latency.json is the bench's file; choose another name"
            )
        for calibration in variant.get("calibration", []):
            if calibration not in config["calibration"]:
                raise UserError(
                    f"variants.{name}.calibration: there is no calibration named "
                    f"'{calibration}'{_nearest(calibration, config['calibration'])}"
                )
        if variant.get("rounding") == "gptq" and variant.get("weight_type") == "QUInt8":
            raise UserError(
                f"variants.{name}.rounding: gptq is for weight_type QInt8; set it, or rounding: nearest"
            )
        base = variant.get("base")
        if base and config["variants"].get(base, {}).get("quantizer") != "static":
            static = [
                other for other, each in config["variants"].items() if each["quantizer"] == "static"
            ]
            raise UserError(
                f"variants.{name}.base: '{base}' is not a static variant; "
                f"those are {', '.join(static) or 'none: add one'}"
            )
        if variant["quantizer"] == "qat" and config["variants"][base]["weight_type"] != "QInt8":
            raise UserError(
                f"variants.{name}.base: training is for weight_type QInt8, which '{base}' has not; "
                "name another static variant"
            )
    for name in config["backbones"]:
        if not 32 <= (backbone_names.image_size(name) or 32) <= 1024:
            raise UserError(f"backbones: {name}: an image size is from 32 to 1024 pixels")
    for name, override in config["overrides"].items():
        if "seeds" in override:
            raise UserError(
                f"overrides.{name}.seeds: every backbone has the same seeds; set train.seeds"
            )
        backbones = dict.fromkeys(
            [*config["backbones"], *map(backbone_names.network, config["backbones"])]
        )
        if name not in backbones:
            raise UserError(
                f"overrides.{name}: '{name}' is not among backbones{_nearest(name, backbones)}"
            )
        if "image_size" in override and backbone_names.image_size(name):
            raise UserError(
                f"overrides.{name}.image_size: the name says {backbone_names.image_size(name)} already; "
                "take one of the two away"
            )


def check_backbones(backbones: list[str], cache: Path) -> None:
    """Check that torchvision or timm has every backbone.

    `cache` keeps the list of names, because importing the two takes seconds.

    Raises
    ------
    UserError
        A backbone is unknown.
    """
    wanted = [backbone_names.network(backbone) for backbone in backbones]
    known = files.read_cache(cache, [])
    if set(wanted) <= set(known):
        return
    from beansweep.models import backbones as library

    known = library.known()
    files.write_json(cache, known)
    for name in wanted:
        if name not in known:
            raise UserError(
                f"backbones: torchvision and timm have no classifier '{name}'{_nearest(name, known)}"
            )


def check_weights(config: dict) -> None:
    """Check that every weights file exists.

    Raises
    ------
    UserError
        A file does not.
    """
    named = {"train": config["train"]["weights"]}
    named |= {
        f"overrides.{name}": each["weights"]
        for name, each in config["overrides"].items()
        if "weights" in each
    }
    for key, weights in named.items():
        if weights not in ("none", "imagenet") and not Path(weights).is_file():
            raise UserError(
                f"{key}.weights: there is no file {weights}; give none, imagenet, or a state-dict file"
            )


def check_device_results(device_results: dict[str, list[str]]) -> None:
    """Check that every file of another device's times exists.

    Raises
    ------
    UserError
        A file does not.
    """
    for name, paths in device_results.items():
        for path in paths:
            if not Path(path).is_file():
                raise UserError(
                    f"bench.device_results.{name}: there is no file {path}; the device writes it with "
                    "predict.py --bench"
                )


def check_classes(good_classes: list[str], classes: list[str]) -> None:
    """Check that every good class exists, and that at least one class is a defect.

    Raises
    ------
    UserError
        A good class is not a class of the data set, or no class is left for defects.
    """
    for name in good_classes:
        if name not in classes:
            raise UserError(
                f"dataset.good_classes: the data set has no class '{name}'"
                f"{_nearest(name, classes)}; its classes are {', '.join(classes)}"
            )
    if set(good_classes) == set(classes):
        raise UserError(
            "dataset.good_classes names every class of the data set: leave the defects out"
        )


def _nearest(name: str, known) -> str:
    """A hint at the most similar known name, if any is similar."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


@cache
def _validator(schema: Path) -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load(schema.read_text()))


def _leaves(value, where: str = "") -> Iterator[tuple[str, object]]:
    """Full name and value of everything in a configuration that holds nothing itself."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else None
    )
    if items is None:
        yield where, value
        return
    for key, each in items:
        yield from _leaves(each, f"{where}.{key}" if where else str(key))


def _explain(error: ValidationError) -> str:
    """One sentence for a schema violation, with the key's full name."""
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        wrong = next(key for key in error.instance if key not in known)
        return f"config: unknown key {'.'.join(filter(None, [where, str(wrong)]))!r}{_nearest(wrong, known)}"
    if error.validator == "required":
        wrong = next(key for key in error.validator_value if key not in error.instance)
        return f"config: the key '{'.'.join(filter(None, [where, wrong]))}' is missing"
    if "propertyNames" in error.absolute_schema_path or error.validator == "pattern":
        return (
            f"config: {where} is wrong: {error.instance!r} is no name: a letter or digit, then letters, digits, "
            "_ and - (quote what is a number)"
        )
    said = error.message if len(error.message) <= 200 else f"{error.message[:200]}..."
    return f"config: {where or 'the file'} is wrong: {said}"
