"""Checks of the configuration before any job starts; each fault is named in one sentence."""

import difflib
import math
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from beansweep.benchmark.controls import CONTROLS
from beansweep.common import emulator, files
from beansweep.common.errors import UserError
from beansweep.models import backbone_names
from beansweep.settings import overrides

# Names of files next to a variant's, which a variant must not take.
_TAKEN = {
    "fp32": "every backbone has this variant already; choose another name",
    "latency": "latency.json is the bench's file; choose another name",
    "inspection": "inspection.json is there before the training; choose another name",
    **dict.fromkeys(CONTROLS, "the bench has a control of this name; choose another name"),
}


def validate(config: dict, schema: Path) -> None:
    """Check a whole configuration.

    Parameters
    ----------
    config : the configuration, merged over the project's own
    schema : file of the JSON schema

    Raises
    ------
    UserError
        A key is unknown or missing, or a value has the wrong type or range, or names something
        that the configuration does not define.
    """
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config: {key} is wrong: {value} is not a finite number")
    error = best_match(_validator(schema).iter_errors(config))
    if error:
        raise UserError(_explain(error))
    for name in config["variants"]:
        _check_variant(name, config)
    for name in config["backbones"]:
        if not 32 <= (backbone_names.image_size(name) or 32) <= 1024:
            raise UserError(f"backbones: {name}: an image size is from 32 to 1024 pixels")
    for name, override in config["overrides"].items():
        _check_override(name, override, config["variants"])
    for name in config["backbones"]:
        left_out = overrides.merged(config, name)["variants"]
        _check_left_out(name, left_out, config["variants"])


def _check_variant(name: str, config: dict) -> None:
    """Check a variant's name, and what its recipe names."""
    variant = config["variants"][name]
    if name in _TAKEN:
        raise UserError(f"variants.{name}: {_TAKEN[name]}")
    for calibration in variant.get("calibration", []):
        if calibration not in config["calibration"]:
            raise UserError(
                f"variants.{name}.calibration: there is no calibration named "
                f"'{calibration}'{_nearest(calibration, config['calibration'])}"
            )
    if variant.get("rounding") == "gptq" and variant.get("weight_type") == "QUInt8":
        raise UserError(
            f"variants.{name}.rounding: gptq is for weight_type QInt8; set that, "
            "or rounding: nearest"
        )
    needed = ("integer_rewrites", "reduce_range")
    if variant.get("bit_exact") and not all(variant[key] is True for key in needed):
        raise UserError(
            f"variants.{name}.bit_exact: it needs integer_rewrites: true and reduce_range: true; "
            "set both"
        )
    if "base" in variant:
        _check_base(name, variant, config["variants"])


def _check_base(name: str, variant: dict, variants: dict[str, dict]) -> None:
    """Check that a mixed or trained variant starts from a static one that is fit for it."""
    base = variant["base"]
    static = [other for other in variants if variants[other]["quantizer"] == "static"]
    if base not in static:
        raise UserError(
            f"variants.{name}.base: '{base}' is not a static variant; "
            f"those are {', '.join(static) or 'none: add one'}"
        )
    if variant["quantizer"] == "qat" and variants[base]["weight_type"] != "QInt8":
        raise UserError(
            f"variants.{name}.base: training is for weight_type QInt8, and that of '{base}' is "
            f"{variants[base]['weight_type']}; name another static variant"
        )


def _check_override(name: str, override: dict, variants: dict[str, dict]) -> None:
    """Check that an override contradicts nothing, and takes out variants that exist."""
    if "seeds" in override:
        raise UserError(
            f"overrides.{name}.seeds: every backbone has the same seeds; set train.seeds"
        )
    size = backbone_names.image_size(name)
    if "image_size" in override and size:
        raise UserError(
            f"overrides.{name}.image_size: the name says {size} already; remove one of the two"
        )
    for variant in override.get("variants", {}):
        if variant not in variants:
            raise UserError(
                f"overrides.{name}.variants: there is no variant '{variant}'"
                f"{_nearest(variant, variants)}"
            )


def unused_overrides(config: dict) -> dict[str, str]:
    """Overrides for backbones that are not in the sweep, which people leave out for a while.

    Returns
    -------
    Name of the override -> a line for the user
    """
    known = [*config["backbones"], *map(backbone_names.network, config["backbones"])]
    lines = {}
    for name in config["overrides"]:
        if name not in known:
            lines[name] = (
                f"overrides.{name} is not used: '{name}' is not among backbones"
                f"{_nearest(name, known)}"
            )
    return lines


def endless_warm_ups(config: dict) -> list[str]:
    """Lines for the user on trainings that end in the warm-up, as a trial of one epoch does."""
    lines = []
    for name in config["backbones"]:
        training = config["train"] | overrides.merged(config, name)
        if training["warmup_epochs"] > training["epochs"]:
            lines.append(
                f"the training of {name} ends before its rate is at train.learning_rate "
                f"({training['epochs']} epochs, and its warmup_epochs are "
                f"{training['warmup_epochs']})"
            )
    return lines


def _check_left_out(name: str, left_out: dict, variants: dict[str, dict]) -> None:
    """Check that a backbone goes without the variants that start from those it goes without."""
    for variant, recipe in variants.items():
        if recipe.get("base") in left_out and variant not in left_out:
            raise UserError(
                f"overrides.{name}.variants: {variant} starts from {recipe['base']}: "
                f"take it out too ({variant}: null)"
            )


def check_backbones(backbones: list[str], cache: Path) -> None:
    """Check that torchvision or timm has every backbone.

    Parameters
    ----------
    backbones : names, such as `resnet18` or `timm/ghostnet_100@128`
    cache : file that keeps the list of all names, because importing the two takes seconds

    Raises
    ------
    UserError
        A backbone is unknown.
    """
    wanted = [backbone_names.network(backbone) for backbone in backbones]
    if set(wanted) <= set(files.read_cache(cache, [])):
        return
    from beansweep.models import backbones as library

    known = library.known()
    files.write_json(cache, known)
    for name in wanted:
        if name not in known:
            raise UserError(
                f"backbones: torchvision and timm have no classifier '{name}'"
                f"{_nearest(name, known)}"
            )


def fixed_sizes(backbones: list[str], cache: Path) -> dict[str, int | None]:
    """The image size (pixels) of every network of timm that takes one alone; None for others.

    Parameters
    ----------
    backbones : names
    cache : file that keeps what is known, because importing timm takes seconds
    """
    wanted = {backbone_names.network(backbone) for backbone in backbones}
    wanted = {name for name in wanted if name.startswith(backbone_names.TIMM)}
    known = files.read_cache(cache, {})
    if not wanted <= known.keys():
        from beansweep.models import backbones as library

        known |= {name: library.fixed_size(name) for name in wanted}
        files.write_json(cache, known)
    return known


def check_weights(config: dict) -> None:
    """Check that every weights file that is used exists.

    Raises
    ------
    UserError
        A file does not.
    """
    _check_weights_file("train", config["train"])
    unused = unused_overrides(config)
    for name, override in config["overrides"].items():
        if name not in unused:
            _check_weights_file(f"overrides.{name}", override)


def _check_weights_file(section: str, settings: dict) -> None:
    weights = settings.get("weights", "none")
    if weights not in ("none", "imagenet") and not Path(weights).is_file():
        raise UserError(
            f"{section}.weights: there is no file {weights}; give none, imagenet, "
            "or a state-dict file"
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
                    f"bench.device_results.{name}: there is no file {path}; the device writes it "
                    "with predict.py --bench"
                )


def check_devices(
    devices: dict[str, dict], device_results: dict[str, list[str]], folder: Path
) -> None:
    """Check that the processor of every device can be emulated here, and is that of its times.

    Parameters
    ----------
    device_results : device -> files of its times
    folder : of the emulator

    Raises
    ------
    UserError
        One cannot, or is of another architecture than the machine that the times are from.
    """
    for name, device in devices.items():
        processor = device["emulate"]
        emulator.check(folder, processor, f"devices.{name}.emulate")
        for path in device_results.get(name, []):
            timed_on = _architecture(path)
            if timed_on not in (None, emulator.architecture(processor)):
                raise UserError(
                    f"devices.{name}.emulate: {processor} is of {emulator.architecture(processor)},"
                    f" and the times in {path} are from {timed_on}: give one of the two another "
                    "name, or another processor"
                )


def _architecture(path: str) -> str | None:
    """The architecture that a file of `predict.py --bench` is from; None if it does not say."""
    machine = files.read_cache(path, {}).get("machine", {})
    # What Windows and macOS call the same.
    names = {"arm64": "aarch64", "amd64": "x86_64"}
    found = str(machine["architecture"]).lower() if "architecture" in machine else None
    return names.get(found, found) if found else None


def check_deploy(config: dict) -> None:
    """Check that nothing is asked of decisions where there are none.

    Raises
    ------
    UserError
        Good images are to be rejected least, or are limited, and no class is good.
    """
    deploy = config["deploy"]
    if config["dataset"]["good_classes"] is not None:
        return
    if deploy["objective"] == "rejected_good_rate":
        raise UserError(
            "deploy.objective: nothing is rejected where dataset.good_classes is null: "
            "choose p50_ms, macro_f1 or megabytes"
        )
    for key, unset in (("max_rejected_good_rate", None), ("max_by_hand_rate", 0)):
        if deploy[key] != unset:
            raise UserError(
                f"deploy.{key}: nothing is decided where dataset.good_classes is null: leave it out"
            )


def check_classes(good_classes: list[str] | None, classes: list[str]) -> None:
    """Check that every good class exists, and that at least one class is a defect.

    Parameters
    ----------
    good_classes : None where no class is a defect

    Raises
    ------
    UserError
        A good class is not a class of the data set, or no class is left for defects.
    """
    if good_classes is None:
        return
    for name in good_classes:
        if name not in classes:
            raise UserError(
                f"dataset.good_classes: the data set has no class '{name}'"
                f"{_nearest(name, classes)}; its classes are {', '.join(classes)}. Name those that "
                "may be shipped, or set null where no class is a defect"
            )
    if set(good_classes) == set(classes):
        raise UserError(
            "dataset.good_classes names every class of the data set: leave the defects out, or set "
            "null where no class is a defect"
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the most similar known name, if any is similar."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# For JSON Schema 8.0 is an integer. What counts or indexes in Python has to be 8.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@cache
def _validator(schema: Path) -> Any:
    return _Validator(yaml.safe_load(schema.read_text()))


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Full name and value of everything in a configuration that holds nothing itself."""
    items: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield key, value
        return
    for name, inner in items:
        yield from _leaves(inner, _joined(key, name))


def _explain(error: ValidationError) -> str:
    """One sentence for a schema violation, with the key's full name."""
    key = ".".join(map(str, error.absolute_path))
    schema: Any = error.schema
    instance: Any = error.instance
    required: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        unknown = [name for name in instance if name not in known]
        if len(unknown) > 1 and "quantizer" in known:
            return (
                f"config: {key} is wrong: quantizer {instance['quantizer']} has no keys "
                f"{', '.join(map(str, unknown))}; if config.yaml has them under this name, choose "
                "another name for yours"
            )
        wrong = unknown[0]
        return f"config: unknown key {_joined(key, wrong)!r}{_nearest(wrong, known)}"
    if error.validator == "required":
        wrong = next(name for name in required if name not in instance)
        return f"config: the key '{_joined(key, wrong)}' is missing"
    if error.validator == "pattern" and "examples" in schema:
        return f"config: {key} is wrong: {instance!r} is not one of {schema['examples']}"
    if "propertyNames" in error.absolute_schema_path or error.validator == "pattern":
        return f"config: {key} is wrong: {instance!r} is no name: {schema['$comment']}"
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]}..."
    return f"config: {key or 'the file'} is wrong: {message}{_type_hint(error)}"


def _type_hint(error: ValidationError) -> str:
    """What to do about a wrong type that YAML or the command line made of a right value."""
    wanted: Any = error.validator_value
    if error.validator not in ("type", "enum"):
        return ""
    value: Any = error.instance
    meant = _meant(value)
    if meant is not value and _Validator({error.validator: wanted}).is_valid(meant):
        written = yaml.safe_dump(meant).splitlines()[0]
        # In --config, Snakemake reads what is within braces as text.
        quoted = " without quotes, in a file that --configfile names" if written == value else ""
        return f"; write {written}{quoted}"
    in_list = bool(error.absolute_path) and isinstance(error.absolute_path[-1], int)
    if "string" in wanted and not isinstance(value, dict | list) and (in_list or value is not None):
        # What was written is not known here: YAML reads 010 as 8, and yes as true.
        return "; put it in quotes, exactly as it is written in the file or as the folder is called"
    if "array" in wanted and isinstance(value, str) and value.strip() and value.isprintable():
        return f"; write it as a list: [{value}]"
    if wanted == "object" and isinstance(value, str):
        return "; write its keys into a file and name that with --configfile"
    return ""


def _meant(value: object) -> object:
    """8 for 8.0; the number, true, false or null that a text was meant for; else the value."""
    if not isinstance(value, str | float):
        return value
    if value in ("true", "false", "null"):
        return yaml.safe_load(value)
    try:
        number = float(value)
    except ValueError:
        return value
    if not abs(number) < 1e15:
        return value
    return int(number) if number.is_integer() else number


def _joined(section: str, name: object) -> str:
    """The full name of a key in a section; the section of the whole configuration has none."""
    return f"{section}.{name}" if section else str(name)
