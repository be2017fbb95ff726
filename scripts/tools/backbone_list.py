"""Put every backbone of a list through the whole chain, and print what became of each.

    python scripts/tools/backbone_list.py FOLDER                 all, then the report over all
    python scripts/tools/backbone_list.py FOLDER --names resnet18 timm/ghostnet_100
    python scripts/tools/backbone_list.py FOLDER --again --names resnet18

Images are rendered, of few classes, and trainings are short: enough that a network learns
something. Each step calls the stage's own program in a process of its own. Backbones that have an
outcome in FOLDER are not tried again, so a killed list goes on where it was. `--again` tries the
named ones once more, from the networks that were trained.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import calibrate
import dataset
import decode
import evaluate
import export_fp32
import inspect_backbone
import instruction_set
import prepare
import quantize_int8
import quantize_mixed
import quantize_qat
import report
import sensitivity
import train
from beansweep.analysis import candidates
from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.data import rendered_folder
from beansweep.evaluation import agreement, predictions
from beansweep.models import backbone_names, model_metadata
from beansweep.settings.sweep import (
    INSTRUCTION_SET,
    MANIFEST,
    NEAR_DUPLICATES,
    RENDERED_IMAGES,
    Sweep,
    read,
)

SCRIPTS = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("backbones.txt")
ROOT, RESULTS = Path(RENDERED_IMAGES), Path("results")
FINALISTS = RESULTS / "finalists.json"
# Of the rendered classes: so few that short trainings learn to tell them apart.
CLASSES = ("good", "black", "mold")
# What a training leaves, finished or not.
KEPT = ("checkpoint.pt", "history.csv", ".checkpoint.resume.pt")
# What differs from config.yaml: as little as goes through every step and still means something.
TINY = {
    "generate": {"image_size": 96, "images": {"train": 40, "val": 20, "test": 60}},
    "train": {"epochs": 8, "batch_size": 8, "warmup_epochs": 1},
    "bench": {"processes": 3, "rounds": 4, "queries": 5, "warmup": 3, "finalist_minutes": 1},
}
CALIBRATION_IMAGES = 16
# A network of more weights, or on larger images, trains for fewer epochs.
LARGE, EPOCHS_OF_LARGE = {"parameters": 20e6, "image_size": 96}, 4
MINUTES = 30  # of processor time for one step; one that takes longer counts as failed
# Forked: torch and timm, which take seconds to import, are there already.
FORK = multiprocessing.get_context("fork")


def sweep_of(names: list[str]) -> Sweep:
    """The tiny sweep of some backbones."""
    config = yaml.safe_load((SCRIPTS.parent / "config.yaml").read_text())
    for section, changes in TINY.items():
        config[section] |= changes
    for calibration in config["calibration"].values():
        calibration["images"] = CALIBRATION_IMAGES
    config["backbones"] = names
    schema = SCRIPTS.parent / "workflow/schemas/config.schema.yaml"
    return read(config, [], schema, Path(".cache"), Path(".emulator"))


class Chain:
    """The whole chain of one backbone.

    Attributes
    ----------
    seconds : step -> seconds of processor time
    memory : step -> most memory that it took (MB)
    failed : step -> why it failed, in one sentence
    """

    def __init__(self, name: str):
        self.sweep = sweep_of([name])
        self.run = self.sweep.backbones[0]
        self.folder = RESULTS / self.run
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def go(self) -> None:
        """Go through all steps; what fails ends only what depends on it."""
        fp32 = partial(self._evaluate, "fp32")
        first = {"inspect": self._inspect, "decode": self._decode, "train": self._train}
        first["export"] = self._export
        for name, step in (first | {"fp32": fp32}).items():
            if not self._try(name, step):
                return
        sweep = self.sweep
        for variant in sweep.variants_without_base():
            self._try(variant, partial(self._quantize, variant))
        for variant in self._done(sweep.quantized_by("static")):
            self._try(f"sensitivity of {variant}", partial(self._rank_layers, variant))
        for variant in sweep.quantized_by("mixed", "qat"):
            if sweep.recipe(variant)["base"] not in self.failed:
                self._try(variant, partial(self._derive, variant))
        for variant in self._done(sweep.int8_variants):
            self._try(f"evaluation of {variant}", partial(self._evaluate_twice, variant))
        if self._try("bench", self._bench):
            self._try("figures", self._write_figures)

    def _try(self, name: str, step: Callable[[], None]) -> bool:
        """Try a step in a process of its own: a crash, or want of memory, ends it alone.

        Returns
        -------
        Whether it did not fail
        """
        receiver, sender = FORK.Pipe(duplex=False)
        process = FORK.Process(target=self._attempt, args=(step, sender))
        process.start()
        sender.close()
        try:
            reason, self.seconds[name], self.memory[name] = receiver.recv()
        except EOFError:
            reason = None
        process.join()
        if process.exitcode == -signal.SIGXCPU:
            reason = f"not ready after {MINUTES} minutes of processor time"
        elif process.exitcode:
            reason = f"the process ended with {process.exitcode}"
        if reason:
            self.failed[name] = reason
        return not reason

    def _attempt(self, step: Callable[[], None], sender: Connection) -> None:
        """What the process of a step does; all that it prints goes to log.txt."""
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (MINUTES * 60, MINUTES * 60))
        start, reason = processor_seconds(), None
        try:
            step()
        except Exception as error:
            traceback.print_exc()
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            reason = " ".join(f"{kind}{error}".split())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        sender.send((reason, processor_seconds() - start, memory))

    def _done(self, variants: list[str]) -> list[str]:
        """The variants that were made, or that the backbone cannot have."""
        return [variant for variant in variants if self._metadata(variant).exists()]

    def _metadata(self, variant: str) -> Path:
        return self.folder / f"{variant}.json"

    def _call(self, stage: ModuleType, **arguments) -> None:
        """Call a stage's program with the arguments that most have, and its own."""
        pixels = Path(self.sweep.pixels(self.run))
        shared = {"manifest": Path(MANIFEST), "root": ROOT, "pixels": pixels, "threads": 1}
        stage.main(Namespace(**shared, **arguments))

    def _inspect(self) -> None:
        self._call(
            inspect_backbone,
            settings=self.sweep.inspect_settings(self.run),
            recipes=self.sweep.inspect_recipes(self.run),
            output_inspection=self.folder / "inspection.json",
        )

    def _decode(self) -> None:
        record = Path(self.sweep.pixels(self.run))
        if not record.exists():
            self._call(
                decode,
                settings=self.sweep.decode_settings(str(self.sweep.image_size(self.run))),
                output_pixels=record.with_suffix(".npy"),
                output_record=record,
            )

    def _train(self) -> None:
        checkpoint = self.folder / "checkpoint.pt"
        settings = self.sweep.train_settings(self.run)
        inspection = files.read_json(self.folder / "inspection.json")
        if any(inspection[figure] > limit for figure, limit in LARGE.items()):
            settings["epochs"] = EPOCHS_OF_LARGE
        if not checkpoint.exists():
            self._call(
                train,
                settings=settings,
                code="",
                output_checkpoint=checkpoint,
                output_history=self.folder / "history.csv",
            )

    def _export(self) -> None:
        self._call(
            export_fp32,
            checkpoint=self.folder / "checkpoint.pt",
            output_model=self.folder / "fp32.onnx",
            output_metadata=self._metadata("fp32"),
        )

    def _evaluate(self, variant: str, float_kernels: bool = False) -> None:
        as_it_is = self.folder / f"predictions/{variant}.csv"
        in_float = self.folder / f"float_kernels/{variant}.csv"
        self._call(
            evaluate,
            metadata=self._metadata(variant),
            float_kernels=as_it_is if float_kernels else None,
            output_predictions=in_float if float_kernels else as_it_is,
        )

    def _evaluate_twice(self, variant: str) -> None:
        self._evaluate(variant)
        self._evaluate(variant, float_kernels=True)

    def _quantize(self, variant: str) -> None:
        """Make a variant from FP32, and what it needs that is not there yet."""
        inputs = self.sweep.quantize_inputs(self.run, variant)
        model = Path(inputs["model"])
        if not model.exists():
            self._prepare(model)
        for ranges in map(Path, inputs.get("calibrations", [])):
            if not ranges.exists():
                self._calibrate(model, ranges)
        self._call(
            quantize_int8,
            settings=self.sweep.quantize_settings(variant),
            metadata=self._metadata("fp32"),
            instruction_set=Path(INSTRUCTION_SET),
            fp32_predictions=inputs.get("fp32_predictions"),
            **self._made_from(inputs),
            **self._output(variant),
        )

    def _prepare(self, model: Path) -> None:
        rewrites = model.stem == "rewritten"
        metadata = self._metadata("fp32")
        self._call(prepare, metadata=metadata, integer_rewrites=rewrites, output_model=model)

    def _calibrate(self, model: Path, ranges: Path) -> None:
        self._call(
            calibrate,
            settings=self.sweep.config["calibration"][ranges.stem.partition("-")[2]],
            model=model,
            metadata=self._metadata("fp32"),
            narrow_ranges=model.stem == "rewritten",
            output_ranges=ranges,
        )

    def _rank_layers(self, variant: str) -> None:
        inputs = self.sweep.sensitivity_inputs(self.run, variant)
        self._call(
            sensitivity,
            metadata=Path(inputs["metadata"]),
            output_table=self.folder / f"sensitivity/{variant}.csv",
            **self._made_from(inputs),
        )

    def _derive(self, variant: str) -> None:
        """Make a variant that starts from another one."""
        stage: ModuleType
        if variant in self.sweep.quantized_by("mixed"):
            stage, inputs = quantize_mixed, self.sweep.mixed_inputs(self.run, variant)
            settings = self.sweep.mixed_settings(variant)
        else:
            stage, inputs = quantize_qat, self.sweep.qat_inputs(self.run, variant)
            settings = self.sweep.qat_settings(self.run, variant)
        self._call(
            stage,
            settings=settings,
            code="",
            base_metadata=Path(inputs["base_metadata"]),
            fp32_predictions=Path(inputs["fp32_predictions"]),
            sensitivity=Path(inputs.get("sensitivity", "")),
            **self._made_from(inputs),
            **self._output(variant),
        )

    @staticmethod
    def _made_from(inputs: dict) -> dict:
        calibrations = [Path(path) for path in inputs.get("calibrations", [])]
        return {"model": Path(inputs["model"]), "calibrations": calibrations}

    def _output(self, variant: str) -> dict:
        return {
            "output_model": self.folder / f"{variant}.onnx",
            "output_metadata": self._metadata(variant),
        }

    def _bench(self) -> None:
        metadata = map(str, map(self._metadata, self._done(self.sweep.variants)))
        latency = str(self.folder / "latency.json")
        settings = self.sweep.bench_settings()
        run_stage("bench", settings, "--metadata", *metadata, "--output-latency", latency)

    def _write_figures(self) -> None:
        """Write the candidates of this backbone, as the report has them."""
        settings = self.sweep.finalists_settings([])
        arguments = {key: settings[key] for key in ("good_classes", "deploy", "report")}
        variants = self._done(self.sweep.variants)
        found = candidates.read(RESULTS, [self.run], variants, **arguments)
        candidates.write(found.table, self.folder / "candidates.csv")

    def write_outcome(self) -> None:
        """Write what became of the backbone."""
        refused = {}
        for variant in self._done(self.sweep.int8_variants):
            reason = model_metadata.unavailable(self._metadata(variant))
            if reason:
                refused[variant] = reason
        outcome = {
            "refused": refused,
            "failed": self.failed,
            "seconds": {step: round(seconds) for step, seconds in self.seconds.items()},
            "memory_mb": {step: round(memory) for step, memory in self.memory.items()},
        }
        files.write_json(self.folder / "outcome.json", outcome)


def processor_seconds() -> float:
    """What this process and its children have used: it does not grow while others are at work."""
    return sum(os.times()[:4])


def run_stage(stage: str, settings: dict, *arguments: str) -> None:
    """Run a stage in a process of its own: those that time start others, which import it again.

    Raises
    ------
    UserError
        It failed.
    """
    command = [sys.executable, str(SCRIPTS / f"{stage}.py"), "--settings", json.dumps(settings)]
    command += ["--manifest", MANIFEST, f"--root={ROOT}", *arguments]
    if subprocess.run(command).returncode:
        raise UserError(f"{stage} failed: see the log")


def make_images() -> None:
    """Render the images, and write their manifest, where they are not there."""
    if Path(MANIFEST).exists():
        return
    sweep = sweep_of(["resnet18"])
    rendered_folder.render(ROOT, sweep.config["generate"])
    for folder in ROOT.glob("*/*"):
        if folder.name not in CLASSES:
            shutil.rmtree(folder)
    arguments = {"output_manifest": Path(MANIFEST), "output_near_duplicates": Path(NEAR_DUPLICATES)}
    settings = sweep.dataset_settings(Path(".cache"))
    dataset.main(Namespace(root=ROOT, threads=1, settings=settings, **arguments))
    instruction_set.main(Namespace(output_instruction_set=Path(INSTRUCTION_SET)))


def folder_of(name: str) -> Path:
    """The folder of a backbone's results."""
    return RESULTS / backbone_names.folder(name)


def try_one(name: str) -> None:
    """Try one backbone, and write what became of it."""
    folder = folder_of(name)
    kept = [folder / name for name in KEPT]
    for path in folder.iterdir() if folder.exists() else []:
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in kept:
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    chain = Chain(name)
    chain.go()
    chain.write_outcome()
    # The largest files, which no report needs.
    shutil.rmtree(folder / "prepared", ignore_errors=True)


def row(name: str) -> dict:
    """What became of a backbone that was tried: a row of the table."""
    folder = folder_of(name)
    outcome = files.read_json(folder / "outcome.json")
    result = {
        "backbone": name,
        "variants": 0,
        "refused": "; ".join(outcome["refused"]),
        "seconds": sum(outcome["seconds"].values()),
        "memory (MB)": max(outcome["memory_mb"].values(), default=None),
        "failed": "; ".join(f"{step}: {why}" for step, why in outcome["failed"].items())[:300],
    }
    if not (folder / "candidates.csv").exists():
        return result
    table = pd.read_csv(folder / "candidates.csv", keep_default_na=False).set_index("variant")
    # Files that are the same are one candidate; `also` has their other names.
    names = table.index.tolist() + " ".join(table["also"]).split()
    result["variants"] = len(names) - 1
    if "int8_static" in table.index:
        fp32, static = pd.Series(table.loc["fp32"]), pd.Series(table.loc["int8_static"])
        result |= _static_figures(folder, fp32, static)
    return result


def _static_figures(folder: Path, fp32: pd.Series, static: pd.Series) -> dict:
    """How int8_static compares with FP32 on the test images and in the bench."""
    low, high = float(static["speedup_low"]), float(static["speedup_high"])
    speed = "faster" if low > 1 else "slower" if high < 1 else "same"
    return {
        "FP32 F1": float(fp32["test_macro_f1"]),
        "INT8 F1": float(static["test_macro_f1"]),
        "agreement": float(static["test_agreement"]),
        "divergence": _divergence(folder),
        "speed-up": f"{float(static['speedup']):.2f} ({low:.2f} to {high:.2f}) {speed}",
        "size": float(fp32["megabytes"]) / float(static["megabytes"]),
        "finding": static["finding"],
    }


def _divergence(folder: Path) -> float:
    """Mean Kullback-Leibler divergence of int8_static from FP32 on the test images, in nats."""
    found = []
    for variant in ("fp32", "int8_static"):
        rows = predictions.read(folder / f"predictions/{variant}.csv")
        columns = [f"p_{label}" for label in predictions.labels_of(rows)]
        found.append(rows.loc[rows["split"] == "test", columns].to_numpy())
    return agreement.divergence(*found)


def table(names: list[str]) -> pd.DataFrame:
    """What became of each backbone that was tried, a row each."""
    tried = [name for name in names if (folder_of(name) / "outcome.json").exists()]
    return pd.DataFrame([row(name) for name in tried])


def report_all(names: list[str]) -> None:
    """Write the report over all backbones of a list that were tried."""
    missing = {}
    for name in names:
        outcome = files.read_json(folder_of(name) / "outcome.json")
        if outcome["failed"]:
            missing[backbone_names.folder(name)] = "; ".join(outcome["failed"].values())
    if len(missing) == len(names):
        print("no backbone is complete: there is nothing to report")
        return
    sweep = sweep_of(names)
    start = processor_seconds()
    arguments = ("--results", str(RESULTS), "--output-finalists", str(FINALISTS))
    run_stage("bench_finalists", sweep.finalists_settings(missing), *arguments)
    report.main(
        Namespace(
            settings=sweep.report_settings(missing),
            results=RESULTS,
            manifest=Path(MANIFEST),
            near_duplicates=Path(NEAR_DUPLICATES),
            finalists=FINALISTS,
            root=ROOT,
            output_table=RESULTS / "pareto.csv",
            output_markdown=RESULTS / "pareto.md",
            output_page=RESULTS / "report.html",
            output_figures=RESULTS / "figures",
        )
    )
    print(
        f"finalists and report: {processor_seconds() - start:.0f} s of processor time", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="to work in; made if it is not there")
    parser.add_argument("--names", nargs="+", default=LIST.read_text().split())
    parser.add_argument("--again", action="store_true", help="also those that were tried")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)
    torch.set_num_threads(1)
    make_images()
    for name in args.names:
        if args.again or not (folder_of(name) / "outcome.json").exists():
            try_one(name)
            print(table([name]).to_string(header=False, index=False), flush=True)
    found = table(args.names)
    found.to_csv(RESULTS / "backbones.csv", index=False, float_format="%.4g")
    print(found.to_string(index=False))
    report_all(args.names)


if __name__ == "__main__":
    main()
