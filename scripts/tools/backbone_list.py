"""Try every backbone of a list, one after another, and print what became of each.

    python scripts/tools/backbone_list.py FOLDER                 the whole chain
    python scripts/tools/backbone_list.py FOLDER --untrained     every quantizer, nothing trained
    python scripts/tools/backbone_list.py FOLDER --names resnet18 timm/ghostnet_100

The images are few and rendered. Backbones that are in FOLDER already are not tried again, so a
killed list goes on where it was; `--again` tries the named ones once more. With --untrained, a
network has random weights, and statistics of normalisation from some images: enough to see what
fails, not how accurate INT8 is.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calibrate
import dataset
import evaluate
import export_fp32
import prepare
import quantize_int8
import quantize_mixed
import quantize_qat
import sensitivity
from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.data import images, manifest, preprocess, rendered_folder
from beansweep.evaluation import predictions
from beansweep.models import backbone_names, backbones, checkpoints
from beansweep.settings.sweep import MANIFEST, NEAR_DUPLICATES, RENDERED_IMAGES, Sweep, read

SCRIPTS = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("backbones.txt")
# What differs from config.yaml: as little as goes through every step.
TINY = {
    "generate": {"image_size": 96, "images": {"train": 8, "val": 4, "test": 4}, "seed": 0},
    "train": {"epochs": 1, "batch_size": 8, "warmup_epochs": 0},
    "bench": {"processes": 2, "rounds": 3, "queries": 5, "warmup": 3},
}
ONE_CALIBRATION = {"calibration": ["minmax"]}
IMAGES = 4  # of a calibration, without training
MINUTES = 20  # for one backbone; a network that takes longer counts as failed
ROOT = Path(RENDERED_IMAGES)


def sweep_of(backbone: str, untrained: bool) -> Sweep:
    """The tiny sweep of one backbone."""
    return read(_configuration(backbone, untrained), _schema(), Path(".cache"))


def _schema() -> Path:
    return SCRIPTS.parent / "workflow/schemas/config.schema.yaml"


def _configuration(backbone: str, untrained: bool) -> dict:
    config = yaml.safe_load((SCRIPTS.parent / "config.yaml").read_text())
    for section, changes in TINY.items():
        config[section] |= changes
    config["backbones"] = [backbone]
    if untrained:
        for calibration in config["calibration"].values():
            calibration["images"] = IMAGES
        for recipe in config["variants"].values():
            if "calibration" in recipe:
                recipe |= ONE_CALIBRATION
    return config


# Without training: each step is the stage's own program, called in this process.


class Untrained:
    """Every step of a backbone but training, bench and report, each on its own.

    Attributes
    ----------
    steps : name -> seconds, and the error where there was one
    """

    def __init__(self, backbone: str):
        self.sweep = sweep_of(backbone, untrained=True)
        self.backbone = self.sweep.backbones[0]
        self.folder = Path("results") / self.backbone
        self.steps: dict[str, dict] = {}

    def run(self) -> None:
        """Go through all steps; what fails ends only what depends on it."""
        for name, step in (("build", self.build), ("export", self.export)):
            if not self.tried(name, step):
                return
        if not self.tried("fp32", partial(self.evaluate, "fp32")):
            return
        for variant in self.sweep.variants_without_base():
            self.tried(variant, partial(self.quantize, variant))
        for variant in self.sweep.quantized_by("static"):
            if self.made(variant):
                self.tried(f"sensitivity-{variant}", partial(self.sensitivity, variant))
        for variant in self.sweep.quantized_by("mixed", "qat"):
            if self.base_is_there(variant):
                self.tried(variant, partial(self.derive, variant))

    def tried(self, name: str, step: Callable[[], None]) -> bool:
        """Try a step, and record how long it took and why it failed; whether it did not."""
        start = time.perf_counter()
        error = ""
        try:
            step()
        except Exception as failure:
            traceback.print_exc()
            kind = "" if isinstance(failure, UserError) else f"{type(failure).__name__}: "
            error = " ".join(f"{kind}{failure}".split())
        self.steps[name] = {"seconds": round(time.perf_counter() - start, 1), "error": error}
        self.write()
        return not error

    def made(self, variant: str) -> bool:
        """Whether a variant is there, and not one that this backbone cannot have."""
        path = self.folder / f"{variant}.json"
        return path.exists() and not files.read_json(path).get("unavailable")

    def base_is_there(self, variant: str) -> bool:
        """Whether a variant's base was made, and ranked where the variant needs that."""
        base = self.sweep.recipe(variant)["base"]
        ranked = (
            f"sensitivity-{base}" in self.steps and not self.steps[f"sensitivity-{base}"]["error"]
        )
        return self.made(base) and (ranked or variant in self.sweep.quantized_by("qat"))

    def build(self) -> None:
        """A new network, its normalisation fitted to some images, as a checkpoint."""
        settings = self.sweep.train_settings(self.backbone)
        rows = manifest.read(Path(MANIFEST))
        labels = manifest.labels(rows)
        torch.manual_seed(0)
        preprocessing = backbones.preprocessing(settings)
        size = preprocessing["image_size"]
        model = backbones.build(settings["backbone"], len(labels), size)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # A mean over all that was seen.
        paths = manifest.paths(rows, "train", 16, seed=0)
        pixels = images.load(ROOT, paths, size)
        with torch.inference_mode():
            model.train()(torch.from_numpy(preprocess.normalise(pixels, preprocessing)))
        checkpoint = {
            "backbone": settings["backbone"],
            "labels": labels,
            "preprocessing": preprocessing,
            "model": model.state_dict(),
        }
        checkpoints.write(self.folder / "checkpoint.pt", checkpoint)

    def export(self) -> None:
        self._call(
            export_fp32,
            checkpoint=self.folder / "checkpoint.pt",
            output_model=self.folder / "fp32.onnx",
            output_metadata=self.folder / "fp32.json",
        )

    def evaluate(self, variant: str) -> None:
        self._call(
            evaluate,
            metadata=self.folder / f"{variant}.json",
            output_predictions=self.folder / f"predictions/{variant}.csv",
        )

    def quantize(self, variant: str) -> None:
        inputs = self.sweep.quantize_inputs(self.backbone, variant)
        self._prepare(Path(inputs["model"]))
        for ranges in inputs.get("calibrations", []):
            self._calibrate(Path(inputs["model"]), Path(ranges))
        self._call(
            quantize_int8,
            settings=self.sweep.quantize_settings(variant),
            metadata=self.folder / "fp32.json",
            fp32_predictions=inputs.get("fp32_predictions"),
            **self._made_from(inputs),
            **self._output(variant),
        )
        if self.made(variant):
            self.evaluate(variant)

    def sensitivity(self, variant: str) -> None:
        inputs = self.sweep.sensitivity_inputs(self.backbone, variant)
        self._call(
            sensitivity,
            metadata=Path(inputs["metadata"]),
            output_table=self.folder / f"sensitivity/{variant}.csv",
            **self._made_from(inputs),
        )

    def derive(self, variant: str) -> None:
        """Make a variant that starts from another one."""
        if variant in self.sweep.quantized_by("mixed"):
            inputs = self.sweep.mixed_inputs(self.backbone, variant)
            stage: ModuleType = quantize_mixed
            settings = self.sweep.mixed_settings(variant)
        else:
            inputs = self.sweep.qat_inputs(self.backbone, variant)
            stage, settings = quantize_qat, self.sweep.qat_settings(self.backbone, variant)
        self._call(
            stage,
            settings=settings,
            base_metadata=Path(inputs["base_metadata"]),
            fp32_predictions=Path(inputs["fp32_predictions"]),
            sensitivity=Path(inputs.get("sensitivity", "")),
            **self._made_from(inputs),
            **self._output(variant),
        )
        if self.made(variant):
            self.evaluate(variant)

    def _prepare(self, model: Path) -> None:
        if not model.exists():
            rewrites = model.stem == "rewritten"
            metadata = self.folder / "fp32.json"
            self._call(prepare, metadata=metadata, integer_rewrites=rewrites, output_model=model)

    def _calibrate(self, model: Path, ranges: Path) -> None:
        if not ranges.exists():
            self._call(
                calibrate,
                settings=self.sweep.config["calibration"][ranges.stem.partition("-")[2]],
                model=model,
                metadata=self.folder / "fp32.json",
                narrow_ranges=model.stem == "rewritten",
                output_ranges=ranges,
            )

    @staticmethod
    def _made_from(inputs: dict) -> dict:
        calibrations = [Path(path) for path in inputs.get("calibrations", [])]
        return {"model": Path(inputs["model"]), "calibrations": calibrations}

    def _output(self, variant: str) -> dict:
        return {
            "output_model": self.folder / f"{variant}.onnx",
            "output_metadata": self.folder / f"{variant}.json",
        }

    @staticmethod
    def _call(stage, **arguments) -> None:
        """Call a stage's program with the arguments that all have, and its own."""
        shared = {"manifest": Path(MANIFEST), "root": ROOT, "threads": 1, "float_kernels": False}
        stage.main(Namespace(**shared, **arguments))

    def write(self) -> None:
        """Write what is known so far."""
        failed = "; ".join(
            f"{n}: {step['error']}" for n, step in self.steps.items() if step["error"]
        )
        made = [name for name in self.sweep.int8_variants if self.made(name)]
        row = {
            "variants": made,
            "refused": _refused(self.folder, self.sweep.int8_variants),
            "agreement": agreement(self.folder, "int8_static") if "int8_static" in made else None,
            "speedup": None,
            "failed": failed,
            "seconds": {name: step["seconds"] for name, step in self.steps.items()},
        }
        files.write_json(self.folder / "outcome.json", row)


def _refused(folder: Path, variants: list[str]) -> dict[str, str]:
    """The variants that a backbone cannot have, and why."""
    found = {}
    for variant in variants:
        path = folder / f"{variant}.json"
        reason = files.read_json(path).get("unavailable") if path.exists() else None
        if reason:
            found[variant] = reason
    return found


def agreement(folder: Path, variant: str) -> float:
    """Share of all images that a variant and FP32 give the same class."""
    found = predictions.read(folder / f"predictions/{variant}.csv")
    reference = predictions.read(folder / "predictions/fp32.csv")
    return float(np.mean(found["predicted"] == reference["predicted"]))


# The whole chain: Snakemake's own run, in a folder for each backbone.


def whole_chain(backbone: str) -> None:
    """Run the whole chain of one backbone, and write what became of it."""
    sweep = sweep_of(backbone, untrained=False)
    name = sweep.backbones[0]
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    config = folder / "sweep.yaml"
    config.write_text(yaml.safe_dump({**TINY, "backbones": [backbone]}))
    project = SCRIPTS.parent
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(project / "Snakefile")]
    command += ["results/pareto.md", "--cores", "1", "--configfile", "sweep.yaml"]
    command += ["--workflow-profile", str(project / "workflow/profiles/default")]
    start = time.perf_counter()
    with open(folder / "run.log", "w") as log:
        code = subprocess.run(command, cwd=folder, stdout=log, stderr=log).returncode
    results = folder / "results"
    row: dict[str, Any] = {"refused": _refused(results / name, sweep.int8_variants), "failed": ""}
    row["seconds"] = {"all": round(time.perf_counter() - start)}
    if code:
        row |= {"variants": [], "agreement": None, "speedup": None, "failed": _why(results, folder)}
    else:
        table = pd.read_csv(results / "pareto.csv").set_index("variant")
        row["variants"] = [variant for variant in sweep.int8_variants if variant in table.index]
        static = dict(table.loc["int8_static"]) if "int8_static" in table.index else {}
        row["agreement"], row["speedup"] = static.get("test_agreement"), static.get("speedup")
    files.write_json(Path("results") / name / "outcome.json", row)


def _why(results: Path, folder: Path) -> str:
    """The sentence of the stage that failed, or the last line of the run."""
    for log in sorted((results / "logs").rglob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("failed: "):
                return line.removeprefix("failed: ")
    return (folder / "run.log").read_text().strip().splitlines()[-1]


# The list.


def make_images() -> None:
    """Render the images, and write their manifest, where they are not there."""
    if Path(MANIFEST).exists():
        return
    sweep = sweep_of("resnet18", untrained=True)
    rendered_folder.render(ROOT, sweep.config["generate"])
    arguments = {"output_manifest": Path(MANIFEST), "output_near_duplicates": Path(NEAR_DUPLICATES)}
    dataset.main(Namespace(root=ROOT, settings=sweep.dataset_settings(Path(".cache")), **arguments))


def try_one(backbone: str, untrained: bool) -> None:
    """Try one backbone in a process of its own: a crash, or want of memory, ends it alone."""
    outcome = outcome_of(backbone)
    shutil.rmtree(outcome.parent, ignore_errors=True)
    outcome.parent.mkdir(parents=True)
    # Forked: torch and timm, which take seconds to import, are there already.
    process = multiprocessing.get_context("fork").Process(target=_child, args=(backbone, untrained))
    process.start()
    process.join(MINUTES * 60)
    if process.exitcode:
        _add_failure(outcome, f"the process ended with {process.exitcode}")
    elif process.is_alive():
        process.kill()
        _add_failure(outcome, f"not ready after {MINUTES} minutes")


def _add_failure(outcome: Path, words: str) -> None:
    row = files.read_json(outcome) if outcome.exists() else {"variants": [], "refused": {}}
    row["failed"] = "; ".join(filter(None, [row.get("failed", ""), words]))
    files.write_json(outcome, row)


def _child(backbone: str, untrained: bool) -> None:
    log = os.open(outcome_of(backbone).with_name("log.txt"), os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if untrained:
        Untrained(backbone).run()
    else:
        whole_chain(backbone)


def outcome_of(backbone: str) -> Path:
    """The file that says what became of a backbone."""
    return Path("results", backbone_names.folder(backbone), "outcome.json")


def table(names: list[str]) -> pd.DataFrame:
    """What became of each backbone that was tried, one row each."""
    rows = []
    for name in names:
        if not outcome_of(name).exists():
            continue
        outcome = files.read_json(outcome_of(name))
        rows.append(
            {
                "backbone": name,
                "variants": len(outcome["variants"]),
                "refused": " ".join(outcome["refused"]),
                "agreement": outcome.get("agreement"),
                "speed-up": outcome.get("speedup"),
                "seconds": sum(outcome.get("seconds", {}).values()),
                "failed": outcome["failed"][:300],
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="to work in; made if it is not there")
    parser.add_argument("--names", nargs="+", default=LIST.read_text().split())
    parser.add_argument("--untrained", action="store_true", help="quantize, but train nothing")
    parser.add_argument("--again", action="store_true", help="also those that were tried")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)
    torch.set_num_threads(1)
    make_images()
    for name in args.names:
        if args.again or not outcome_of(name).exists():
            try_one(name, args.untrained)
            print(table([name]).to_string(header=False, index=False), flush=True)
    print(table(args.names).to_string(index=False))


if __name__ == "__main__":
    main()
