"""Names and helpers that the rules share. Nothing here runs a stage."""

import ast
import hashlib
import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from beansweep import dataset as beansweep_dataset
from beansweep import instruction_sets
from beansweep.config import check_backbones, check_classes, check_device_results, check_weights, validate
from beansweep.files import sha256
from beansweep.names import folder, image_size, network
from beansweep.stage import UserError

# Modules that decide no result, only how a stage talks and writes; an edit of them reruns nothing.
PLUMBING = {"stage", "files", "__init__"}
CACHE = Path(".snakemake") / "beansweep"
GENERATED = "results/dataset/generated"


def checked(check, *arguments):
    """Run a check; on failure stop Snakemake with its one sentence."""
    try:
        return check(*arguments)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def imported_modules(source):
    """Names of the modules of the package `beansweep` that a file imports."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "beansweep":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("beansweep."):
            yield node.module.split(".")[1]


@cache
def code(script):
    """Digest of a stage's script and of every module that it imports, directly or not.

    It is taken over the syntax tree: a comment, a touch or a move of the project changes nothing.
    A module's template, the file of its name that ends in .html, is a part of it.
    """
    found, waiting = set(), [SCRIPTS / f"{script}.py"]
    while waiting:
        source = waiting.pop()
        found.add(source)
        modules = [SCRIPTS / "beansweep" / f"{name}.py" for name in imported_modules(source) if name not in PLUMBING]
        waiting += [module for module in modules if module not in found]
    trees = [(source.name, ast.dump(ast.parse(source.read_text()))) for source in sorted(found)]
    templates = [source.with_suffix(".html") for source in sorted(found)]
    trees += [(template.name, template.read_text()) for template in templates if template.exists()]
    return hashlib.sha256(json.dumps(trees).encode()).hexdigest()[:16]


def settings(values):
    """A stage's settings as one JSON argument: what Snakemake compares to decide on a rerun."""
    return json.dumps(values, sort_keys=True)


def shell_prefix():
    """What every command starts with: `stage NAME` runs a script, and $ROOT is the images' folder.

    They stand here and not among a rule's parameters so that moving the project, its environment
    or the images reruns nothing. The interpreter that runs Snakemake runs the stages too, unless
    a rule has a conda environment of its own.
    """
    python = "python" if workflow.deployment_settings.deployment_method else shlex.quote(sys.executable)
    scripts = shlex.quote(str(SCRIPTS))
    prefix = f'stage() {{ {python} {scripts}/"$1".py "${{@:2}}"; }}; ROOT={shlex.quote(ROOT)}; '
    # Snakemake fills in braces here as it does in commands; there are none to fill.
    return prefix.replace("{", "{{").replace("}", "}}")


def run_cores():
    """Cores of this run; 1 where Snakemake was given none, as for --dag."""
    try:
        return int(workflow.cores)
    except (WorkflowError, TypeError):
        return 1


def whole_machine(wildcards):
    """Threads of a job that must run alone: every core of the run."""
    return run_cores()


def training_threads(wildcards):
    """Threads of one training: its share of the machine, as a share of the run's cores.

    On two cores, `--cores 4` with two threads a training must not start two of them.
    """
    wanted = train_settings(wildcards.backbone)["threads"]
    return max(1, min(run_cores(), -(-wanted * run_cores() // os.cpu_count())))


def repeated(backbone, seed):
    """Name of a backbone's folder for one of `train.seeds`; the first is the one that may be deployed."""
    return folder(backbone) if seed == config["train"]["seeds"][0] else f"{folder(backbone)}.seed{seed}"


def train_settings(run):
    """The training settings of one run; of a weights file, its digest too.

    They are `train`'s, with the overrides of its network, then those of its name with an image size.
    """
    backbone, seed = next((backbone, seed) for backbone in config["backbones"] for seed in config["train"]["seeds"]
                          if repeated(backbone, seed) == run)
    overrides = config["overrides"]
    chosen = {**config["train"], **overrides.get(network(backbone), {}), **overrides.get(backbone, {}),
              "backbone": backbone, "seed": seed}
    chosen["image_size"] = image_size(backbone) or chosen["image_size"]
    del chosen["seeds"]
    if chosen["weights"] == "none":
        # Of pretrained weights alone: where there are none, an edit of these reruns nothing.
        del chosen["frozen_epochs"], chosen["body_rate"]
    if chosen["weights"] not in ("none", "imagenet"):
        chosen["weights_sha256"] = sha256(chosen["weights"])
    return chosen


def dataset_settings():
    """What the manifest depends on; for a folder of the user's own, every byte in it."""
    chosen = {key: config["dataset"][key] for key in ("fractions", "seed", "on_leakage")}
    if ROOT == GENERATED:
        return chosen
    classes = sorted(checked(beansweep_dataset.scan, ROOT)["class"].unique())
    checked(check_classes, config["dataset"]["good_classes"], classes)
    return {**chosen, "content": checked(beansweep_dataset.fingerprint, ROOT, CACHE / "fingerprint.json")}


def alternatives(names):
    """A wildcard constraint: any of these names; where there are none, nothing at all."""
    return "|".join(names) or "(?!)"


def instruction_set():
    """What the INT8 variants are made for: the configured instruction set, or this machine's."""
    chosen = config["quantization"]["instruction_set"]
    return instruction_sets.detect() if chosen == "auto" else chosen


def flag(name, files):
    """An option of a stage, where there is something to give it."""
    files = [files] if isinstance(files, str) else files
    return " ".join([name, *map(shlex.quote, files)]) if files else ""


def graph_of(variant):
    """Which prepared graph a variant is quantized from: as exported, or rewritten for integer kernels."""
    return "rewritten" if config["variants"][variant].get("rewrites") else "exported"


def prepared_of(wildcards):
    return f"results/{wildcards.backbone}/prepared/{graph_of(wildcards.variant)}.onnx"


def calibrations_of(wildcards):
    """The files of ranges that a static recipe may choose from."""
    folder = f"results/{wildcards.backbone}/calibration"
    return [f"{folder}/{graph_of(wildcards.variant)}-{name}.json"
            for name in config["variants"][wildcards.variant]["calibration"]]


def quantize_settings(variant):
    """What a variant depends on beside its files."""
    return {"recipe": config["variants"][variant], "instruction_set": instruction_set()}


def quantize_inputs(wildcards):
    """The files that a variant's recipe needs; FP32's predictions where it leaves a choice to make."""
    recipe = config["variants"][wildcards.variant]
    files = {"model": prepared_of(wildcards)}
    if "calibration" in recipe:
        files["calibrations"] = calibrations_of(wildcards)
    if recipe["quantizer"] == "static":
        if len(recipe["calibration"]) > 1 or recipe["bias_correction"] == "auto":
            files["reference"] = f"results/{wildcards.backbone}/predictions/fp32.csv"
    return files


def mixed_settings(variant):
    return {**config["variants"][variant], "max_loss": config["quantization"]["max_loss"]}


def mixed_inputs(wildcards):
    """What a mixed variant is made from: its base variant, and the base's own files."""
    base = config["variants"][wildcards.variant]["base"]
    based = type(wildcards)(fromdict={"backbone": wildcards.backbone, "variant": base})
    folder = f"results/{wildcards.backbone}"
    return {"model": prepared_of(based), "calibrations": calibrations_of(based), "base_model": f"{folder}/{base}.onnx",
            "base_card": f"{folder}/{base}.json", "sensitivity": f"{folder}/sensitivity/{base}.csv"}


def bench_settings():
    """How to time; the results of other devices are the report's alone."""
    return {key: value for key, value in config["bench"].items() if key != "device_results"}


def report_settings():
    """What the report depends on beside its files."""
    runs = {folder(backbone): [repeated(backbone, seed) for seed in config["train"]["seeds"]]
            for backbone in config["backbones"]}
    return {"backbones": BACKBONES, "variants": VARIANTS, "runs": runs, "devices": config["bench"]["device_results"],
            **{key: config[key] for key in ("deploy", "report")},
            **{key: config["dataset"][key] for key in ("good_classes", "on_leakage")}}


def deploy_settings():
    """What a bundle depends on beside its files."""
    return {"good_classes": config["dataset"]["good_classes"], "report": config["report"]}
