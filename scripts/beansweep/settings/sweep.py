"""What each stage gets: the configuration, resolved into settings, files and runs.

A *run* is the folder of one training below results/: that of a backbone, or of a backbone with
another seed. Everything a rule has to know is asked here; the rules hold no Python of their own.
"""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from beansweep.common import files, pinning, processors
from beansweep.models import backbone_names
from beansweep.settings import double_keys, old_names, overrides, validation

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "results/dataset/manifest.csv"
NEAR_DUPLICATES = "results/dataset/near_duplicates.csv"
RENDERED_IMAGES = "results/dataset/generated"
INSTRUCTION_SET = "results/instruction_set.json"


def manifest_rows() -> int:
    """The number of images in the manifest; 0 before there is one."""
    try:
        return _rows(MANIFEST, os.stat(MANIFEST).st_mtime_ns)
    except FileNotFoundError:
        return 0


@cache
def _rows(table: str, _written: int) -> int:
    """Rows of a table; counted once for each time that it is written."""
    with open(table, "rb") as lines:
        return sum(1 for _ in lines) - 1


def read(
    config: dict, sources: Iterable[Path], schema: Path, cache: Path, emulator: Path
) -> "Sweep":
    """Check a configuration, and resolve it.

    Parameters
    ----------
    config : the configuration, merged over the project's own; a variant that is null is left out
    sources : files that it was merged from
    schema : file of the JSON schema
    cache : folder for what takes long to find out
    emulator : folder that `make arm` sets up

    Raises
    ------
    UserError
        The configuration is wrong, or names a file, a class or a network that does not exist.
    """
    double_keys.refuse(sources)
    old_names.refuse(config)
    if isinstance(config["variants"], dict):
        for name in list(config["variants"]):
            if config["variants"][name] is None:
                del config["variants"][name]
    validation.validate(config, schema)
    _expand_homes(config)
    validation.check_backbones(config["backbones"], cache / "backbones.json")
    validation.check_deploy(config)
    validation.check_weights(config)
    validation.check_device_results(config["bench"]["device_results"])
    validation.check_devices(config["devices"], config["bench"]["device_results"], emulator)
    unused = validation.unused_overrides(config).values()
    for line in [*unused, *validation.endless_warm_ups(config)]:
        # Standard output is for --dag and its like.
        print(f"beansweep: warning: {line}", file=sys.stderr)
    return Sweep(config, validation.fixed_sizes(config["backbones"], cache / "fixed_sizes.json"))


def _expand_homes(config: dict) -> None:
    """Write every path of a valid configuration without `~`, in place."""
    for section in (config["train"], *config["overrides"].values()):
        if "weights" in section:
            section["weights"] = os.path.expanduser(section["weights"])
    if config["dataset"]["root"]:
        config["dataset"]["root"] = os.path.expanduser(config["dataset"]["root"])
    device_results = config["bench"]["device_results"]
    for name, paths in device_results.items():
        device_results[name] = list(map(os.path.expanduser, paths))


class Sweep:
    """A valid configuration, resolved.

    Parameters
    ----------
    config : as `validation.validate` accepts it, with no `~` in its paths
    fixed_sizes : as `validation.fixed_sizes` gives them

    Attributes
    ----------
    backbones : folders of the backbones, in the order of the configuration
    runs : folders of all trainings: each backbone with each of `train.seeds`
    variants, int8_variants : names of the variants, with and without fp32
    """

    def __init__(self, config: dict, fixed_sizes: Mapping[str, int | None] | None = None):
        self.config, self._fixed_sizes = config, fixed_sizes or {}
        self.backbones = [backbone_names.folder(name) for name in config["backbones"]]
        # Folder of a run -> its backbone's name and its seed.
        self._trainings: dict[str, tuple[str, int]] = {}
        for name in config["backbones"]:
            for seed in config["train"]["seeds"]:
                self._trainings[self._run(name, seed)] = (name, seed)
        self.runs = list(self._trainings)
        self.int8_variants = list(config["variants"])
        self.variants = ["fp32", *self.int8_variants]

    def _run(self, backbone: str, seed: int) -> str:
        """A run's folder; that of the first seed is the backbone's, and may be deployed."""
        folder = backbone_names.folder(backbone)
        first = self.config["train"]["seeds"][0]
        return folder if seed == first else f"{folder}.seed{seed}"

    def reported_runs(self, missing: Iterable[str]) -> dict[str, list[str]]:
        """The runs that a report shows: backbone -> its runs.

        Parameters
        ----------
        missing : runs to leave out; without its first run a backbone is left out
        """
        reported: dict[str, list[str]] = {}
        for run, (name, _) in self._trainings.items():
            backbone = backbone_names.folder(name)
            if backbone not in missing and run not in missing:
                reported.setdefault(backbone, []).append(run)
        return reported

    def variants_of(self, run: str) -> list[str]:
        """The variants of one backbone: all but those that its overrides take out."""
        out = self._left_out(run)
        return [name for name in self.variants if name not in out]

    def _left_out(self, run: str) -> list[str]:
        """The variants that the overrides of a run's backbone take out."""
        return list(self._overrides(self._trainings[run][0])["variants"])

    def _overrides(self, backbone: str) -> dict:
        return overrides.merged(self.config, backbone)

    def variants_without_base(self) -> list[str]:
        """The INT8 variants that start from FP32, not from another variant."""
        return [name for name in self.int8_variants if "base" not in self.config["variants"][name]]

    def quantized_by(self, *quantizers: str) -> list[str]:
        """The variants that one of these quantizers makes."""
        variants = self.config["variants"]
        return [name for name in variants if variants[name]["quantizer"] in quantizers]

    # The data set

    @property
    def images_are_rendered(self) -> bool:
        return not self.config["dataset"]["root"]

    @property
    def images(self) -> str:
        """The folder of images."""
        return self.config["dataset"]["root"] or RENDERED_IMAGES

    @cached_property
    def image_count(self) -> int:
        """Images of the data set: as the manifest has them, or as there are to make or to read."""
        known = manifest_rows()
        if known:
            return known
        if self.images_are_rendered:
            # Not at the top: scipy takes longer than all else here, and jobs do not need it.
            from beansweep.data import rendered_beans

            return sum(self.config["generate"]["images"].values()) * len(rendered_beans.CLASSES)
        return len(self._scanned)

    @property
    def held_out_count(self) -> int:
        """Validation and test images, as they are to be drawn; a folder that is split differs."""
        if self.images_are_rendered:
            images = self.config["generate"]["images"]
            return round(self.image_count * (1 - images["train"] / sum(images.values())))
        fractions = self.config["dataset"]["fractions"]
        return round(self.image_count * (fractions["val"] + fractions["test"]))

    @cached_property
    def _scanned(self) -> "pd.DataFrame":
        """The images of the user's own folder, which is walked once."""
        # Not at the top: pandas takes longer than all else here, and jobs do not need it.
        from beansweep.data import image_folders

        return image_folders.scan(self.images)

    def dataset_settings(self, cache: Path, look: bool = True) -> dict:
        """What the manifest depends on; for a folder of the user's own, every byte in it.

        Parameters
        ----------
        cache : folder that keeps the digests of the images, and that of the whole folder
        look : whether to look at the images; without, the folder is as it was found before

        Raises
        ------
        UserError
            The folder of images cannot be used, or `good_classes` are not classes of it.
        """
        chosen = _part(
            self.config["dataset"],
            *("fractions", "seed", "on_leakage", "on_unreadable", "bits", "max_megapixels"),
        )
        found: dict[str, dict] = files.read_cache(cache / "images.json", {})
        if look or self.images not in found:
            found[self.images] = self._look_at_images(cache)
            files.write_json(cache / "images.json", found)
        return chosen | found[self.images]

    def _look_at_images(self, cache: Path) -> dict:
        """Check the folder of images; of one of the user's own, the digest."""
        # Not at the top: pandas and scipy take longer than all else here, and jobs need neither.
        from beansweep.data import image_folders, rendered_beans

        good_classes = self.config["dataset"]["good_classes"]
        if self.images_are_rendered:
            validation.check_classes(good_classes, sorted(rendered_beans.CLASSES))
            return {}
        validation.check_classes(good_classes, sorted(set(self._scanned["class"])))
        return {"content": image_folders.fingerprint(self.images, cache / "fingerprint.json")}

    def pixels(self, run: str) -> str:
        """The record of the decoded images that a run's network takes."""
        return f"results/dataset/pixels@{self.image_size(run)}.json"

    def image_size(self, run: str) -> int:
        """The image size (pixels) that a run's network takes."""
        backbone = self._trainings[run][0]
        network, training = backbone_names.network(backbone), self.config["train"]
        fixed, own = self._fixed_sizes.get(network), backbone_names.image_size(backbone)
        wanted = own or (training | self._overrides(backbone))["image_size"]
        return fixed or backbone_names.nearest_size(network, wanted)

    def decode_settings(self, image_size: str) -> dict:
        """What decoded images of a size (pixels) depend on."""
        return {"image_size": int(image_size), **_part(self.config["dataset"], "bits")}

    # Training

    def train_settings(self, run: str) -> dict:
        """The training settings of one run; for a weights file, its digest too.

        They are `train`'s, with the overrides of its network, then those of its name with an
        image size.
        """
        backbone, seed = self._trainings[run]
        chosen = {**self.config["train"], "backbone": backbone, "seed": seed}
        chosen |= _without(self._overrides(backbone), "variants")
        chosen["image_size"] = backbone_names.image_size(backbone) or chosen["image_size"]
        del chosen["seeds"]
        if self.config["dataset"]["bits"]:
            chosen["bits"] = self.config["dataset"]["bits"]
        if chosen["weights"] == "none":
            # These are for pretrained weights: without them an edit of these reruns nothing.
            del chosen["frozen_epochs"], chosen["body_rate"]
        elif chosen["weights"] != "imagenet":
            chosen["weights_sha256"] = files.sha256(chosen["weights"])
        return chosen

    def weights_files(self, run: str) -> list[str]:
        """The file of pretrained weights that a run starts from, if it starts from one."""
        weights = self.train_settings(run)["weights"]
        return [] if weights in ("none", "imagenet") else [weights]

    def inspection(self, run: str) -> str:
        """The file of what is known of a run's backbone before its training."""
        backbone = self._trainings[run][0]
        return f"results/{backbone_names.folder(backbone)}/inspection.json"

    def inspect_settings(self, run: str) -> dict:
        """What decides how a backbone is built."""
        training = self.train_settings(run)
        return _part(training, "backbone", "image_size", "normalisation", "weights")

    def inspect_recipes(self, run: str) -> dict:
        """The variants to try on a backbone before its training."""
        recipes = {}
        for variant in self.variants_of(run):
            if variant != "fp32":
                recipes[variant] = processors.resolve(self.recipe(variant), self.instruction_set)
        return recipes

    def training_threads(self, run: str, cores: int | None) -> int:
        """Cores of the sweep that one training takes: as many as the threads that it is to have.

        Where the sweep was given more cores than there are processors, they are divided among the
        processors. With `--cores 4` on two, two trainings of two threads must not run at a time.

        Parameters
        ----------
        cores : of the run; None on a cluster, where each job has its own
        """
        wanted = self.train_settings(run)["threads"]
        if cores is None:
            return wanted
        cores_a_processor = max(1, cores / pinning.cpus())
        return min(cores, math.ceil(wanted * cores_a_processor))

    def gpus(self, run: str) -> int:
        """GPUs that one training takes for itself: one where `train.device` asks for CUDA."""
        return int(self.train_settings(run)["device"].startswith("cuda"))

    def training_priority(self, run: str) -> int:
        """Trainings come before all other jobs, and the last listed training comes first.

        People list small networks first, and a sweep ends with its longest training.
        """
        return 1 + self.runs.index(run)

    def inspection_priority(self, run: str) -> int:
        """Inspections come before all trainings, and that of the first training comes first."""
        return len(self.runs) + self.training_priority(run)

    @property
    def decode_priority(self) -> int:
        """Decoding comes before inspections: it is short, and claims all cores."""
        return 2 * len(self.runs) + 1

    # Quantization

    @property
    def instruction_set(self) -> str:
        """What the INT8 variants are tried for before a training: as configured, or this machine's.

        They are made for that of the bench, see `quantize_settings`.
        """
        chosen = self.config["quantization"]["instruction_set"]
        return processors.detect() if chosen == "auto" else chosen

    def recipe(self, variant: str) -> dict:
        """How a variant is made; whether it is a baseline matters to the report alone."""
        return _without(self.config["variants"][variant], "baseline")

    def quantize_settings(self, variant: str) -> dict:
        """How a variant is made; where `instruction_set` is auto, the bench's machine settles it.

        So the settings are the same on every machine that reads the Snakefile.
        """
        chosen = _part(self.config["quantization"], "instruction_set")
        return {"recipe": self.recipe(variant), **chosen}

    def mixed_settings(self, variant: str) -> dict:
        return {**self.recipe(variant), **_part(self.config["quantization"], "max_accuracy_drop")}

    def qat_settings(self, run: str, variant: str) -> dict:
        """How a variant is trained: its recipe, and what all training of its backbone has."""
        shared = _part(self.train_settings(run), "device", "batch_size", "seed", "threads")
        return {**self.recipe(variant), **shared}

    def prepared_model(self, run: str, variant: str) -> str:
        """The graph that a variant is quantized from: rewritten for integer kernels, or not."""
        return f"results/{run}/prepared/{self._graph(variant)}.onnx"

    def calibrations(self, run: str, variant: str) -> list[str]:
        """The files of ranges that a recipe may choose from."""
        start = f"results/{run}/calibration/{self._graph(variant)}"
        return [f"{start}-{name}.json" for name in self.config["variants"][variant]["calibration"]]

    def quantize_inputs(self, run: str, variant: str) -> dict:
        """The files that a recipe needs: FP32's predictions too, where it leaves a choice open."""
        recipe = self.config["variants"][variant]
        needed: dict[str, str | list[str]] = {"model": self.prepared_model(run, variant)}
        if "calibration" in recipe:
            needed["calibrations"] = self.calibrations(run, variant)
        if self._leaves_a_choice(recipe):
            needed["fp32_predictions"] = _predictions(run, "fp32")
        if self.config["quantization"]["instruction_set"] == "auto":
            needed["instruction_set"] = INSTRUCTION_SET
        return needed

    @staticmethod
    def _leaves_a_choice(recipe: dict) -> bool:
        """Whether a recipe is settled by which of several models agrees most with FP32."""
        if recipe["quantizer"] != "static":
            return False
        return len(recipe["calibration"]) > 1 or recipe["bias_correction"] == "auto"

    def sensitivity_inputs(self, run: str, variant: str) -> dict:
        """What the ranking of a static variant's layers is made from."""
        return {
            "model": self.prepared_model(run, variant),
            "metadata": f"results/{run}/{variant}.json",
            "calibrations": self.calibrations(run, variant),
        }

    def mixed_inputs(self, run: str, variant: str) -> dict:
        """What a mixed variant is made from: its base, with ranges and the ranking of layers."""
        base = self.config["variants"][variant]["base"]
        return {
            **self._base_inputs(run, base),
            "calibrations": self.calibrations(run, base),
            "sensitivity": f"results/{run}/sensitivity/{base}.csv",
        }

    def qat_inputs(self, run: str, variant: str) -> dict:
        """What a trained variant starts from."""
        return self._base_inputs(run, self.config["variants"][variant]["base"])

    def swapped_settings(self, run: str, variant: str) -> dict:
        """How a variant with another activation is trained and calibrated."""
        training = self.train_settings(run)
        shared = _part(training, "backbone", "device", "batch_size", "seed", "threads")
        base = self.recipe(self.recipe(variant)["base"])
        calibrations = _part(self.config["calibration"], *base["calibration"])
        recipe = {**self.recipe(variant), **shared}
        return {"recipe": recipe, "base": base, "calibrations": calibrations}

    def swapped_inputs(self, run: str, variant: str) -> dict:
        """What a variant with another activation is made from."""
        base = self.config["variants"][variant]["base"]
        return {
            "checkpoint": f"results/{run}/checkpoint.pt",
            "base_metadata": f"results/{run}/{base}.json",
            "fp32_predictions": _predictions(run, "fp32"),
        }

    def _base_inputs(self, run: str, base: str) -> dict:
        """A base variant's files: what it was made from, the model, and its metadata."""
        return {
            "model": self.prepared_model(run, base),
            "base_model": f"results/{run}/{base}.onnx",
            "base_metadata": f"results/{run}/{base}.json",
            "fp32_predictions": _predictions(run, "fp32"),
        }

    def _graph(self, variant: str) -> str:
        rewritten = self.config["variants"][variant].get("integer_rewrites")
        return "rewritten" if rewritten else "exported"

    # Benchmark, report and bundle

    def files_of_variants(self, run: str, suffix: str) -> list[str]:
        """The models (suffix `onnx`) or the metadata (`json`) of a backbone's variants."""
        return [f"results/{run}/{variant}.{suffix}" for variant in self.variants_of(run)]

    def all_models(self) -> list[str]:
        """The models of all backbones."""
        found = []
        for backbone in self.backbones:
            found += self.files_of_variants(backbone, "onnx")
        return found

    def bench_threads(self, cores: int | None) -> int:
        """Cores that a bench takes: all of the run's, so that no other job of it runs meanwhile.

        Parameters
        ----------
        cores : of the run; None on a cluster, where it gets as many as the most threads it times
        """
        threads = self.config["bench"]["threads"]
        return cores or max(threads if isinstance(threads, list) else [threads])

    def bench_settings(self) -> dict:
        """How to time; the results of other devices matter to the report alone."""
        return _without(self.config["bench"], "device_results", "finalist_minutes")

    def finalists_settings(self, missing: Iterable[str]) -> dict:
        """What the timing of the finalists depends on other than files: who they are, and how.

        Parameters
        ----------
        missing : runs to leave out
        """
        return {
            **self._table_settings(missing),
            "bench": _without(self.config["bench"], "device_results"),
        }

    def _table_settings(self, missing: Iterable[str]) -> dict:
        """What the table of candidates depends on other than files."""
        backbones = list(self.reported_runs(missing))
        return {
            "backbones": backbones,
            "variants": self.variants,
            "left_out": {backbone: self._left_out(backbone) for backbone in backbones},
            "baselines": self._baselines(),
            "deploy": self._deploy_limits(),
            **_part(self.config, "report"),
            **_part(self.config["dataset"], "good_classes"),
        }

    def _baselines(self) -> list[str]:
        """The variants that are for comparison alone."""
        variants = self.config["variants"]
        return [name for name in variants if variants[name].get("baseline")]

    def finalists_inputs(self, missing: Iterable[str]) -> dict:
        """The files that the finalists are chosen from, and all models, for those of the finalists.

        Parameters
        ----------
        missing : runs to leave out
        """
        models, results = [], []
        for backbone in self.reported_runs(missing):
            models += self.files_of_variants(backbone, "onnx")
            results += self._candidates_results(backbone)
        return {"manifest": MANIFEST, "models": models, "results": results}

    def report_settings(self, missing: dict[str, str]) -> dict:
        """What a report depends on other than files.

        Parameters
        ----------
        missing : run -> why it is not in the report
        """
        config = self.config
        return {
            **self._table_settings(missing),
            "runs": self.reported_runs(missing),
            "missing": missing,
            "devices": config["bench"]["device_results"],
            "emulated": {name: device["emulate"] for name, device in config["devices"].items()},
            **_part(config["dataset"], "on_leakage", "on_unreadable", "bits"),
        }

    def _deploy_limits(self) -> dict:
        """What may be deployed; where no class is a defect, without the limit on defects."""
        deploy = self.config["deploy"]
        if self.config["dataset"]["good_classes"] is None:
            deploy = {**deploy, "max_missed_defect_rate": None}
        return deploy

    def report_inputs(self, missing: Iterable[str]) -> dict:
        """The files that a report is made from, without those of the missing runs."""
        predictions, results, devices = [], [], []
        for backbone, runs in self.reported_runs(missing).items():
            predictions += [_predictions(run, "fp32") for run in runs]
            results.append(f"results/{backbone}/history.csv")
            results += self._candidates_results(backbone) + self.emulated_files(backbone)
        for paths in self.config["bench"]["device_results"].values():
            devices += paths
        return {
            "manifest": MANIFEST,
            "near_duplicates": NEAR_DUPLICATES,
            "fp32_predictions": predictions,
            "results": results,
            "devices": devices,
        }

    # Emulated devices

    def emulated_variants(self, run: str) -> list[str]:
        """The variants of a backbone that may be deployed; a baseline never is."""
        baselines = self._baselines()
        return [name for name in self.variants_of(run) if name not in baselines]

    def emulation_settings(self, device: str) -> dict:
        """What predictions on an emulated device depend on other than files."""
        return {"images": None, **self.config["devices"][device]}

    def emulation_inputs(self, run: str, device: str, variant: str) -> dict:
        """A model's files, and those of its base, which may be the same model."""
        needed = {"model": f"results/{run}/{variant}.onnx"}
        needed |= {"metadata": f"results/{run}/{variant}.json", "pixels": self.pixels(run)}
        base = "" if variant == "fp32" else self.config["variants"][variant].get("base", "")
        if base in self.emulated_variants(run):
            needed["base_metadata"] = f"results/{run}/{base}.json"
            needed["base_predictions"] = _emulated(run, device, base)
        return needed

    def emulated_files(self, run: str) -> list[str]:
        """The predictions of a backbone's variants on all emulated devices."""
        found = []
        for device in self.config["devices"]:
            found += [_emulated(run, device, name) for name in self.emulated_variants(run)]
        return found

    def _candidates_results(self, backbone: str) -> list[str]:
        """What the table of candidates is made from, of one backbone."""
        folder = f"results/{backbone}"
        results, static = [f"{folder}/latency.json"], self.quantized_by("static")
        for variant in self.variants_of(backbone):
            results += [f"{folder}/{variant}.json", _predictions(backbone, variant)]
            if variant != "fp32":
                results.append(f"{folder}/float_kernels/{variant}.csv")
            if variant in static:
                results.append(f"{folder}/sensitivity/{variant}.csv")
        return results

    def deploy_settings(self) -> dict:
        """What a bundle depends on other than files."""
        return {
            **_part(self.config["dataset"], "good_classes", "max_megapixels"),
            **_part(self.config, "deploy", "report"),
        }


def _predictions(run: str, variant: str) -> str:
    return f"results/{run}/predictions/{variant}.csv"


def _emulated(run: str, device: str, variant: str) -> str:
    return f"results/{run}/emulated/{device}/{variant}.csv"


def _part(values: dict, *keys: str) -> dict:
    return {key: values[key] for key in keys}


def _without(values: dict, *left_out: str) -> dict:
    return {key: value for key, value in values.items() if key not in left_out}
