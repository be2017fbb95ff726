"""Names and helpers that the rules share. Nothing here runs a stage."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from beansweep.common import processors, versions, working_folder
from beansweep.common.errors import UserError
from beansweep.common.files import sha256
from beansweep.data import image_folders, rendered_beans
from beansweep.models.backbone_names import folder, image_size, network
from beansweep.settings import code_digest
from beansweep.settings.validation import check_backbones, check_classes, check_device_results, check_weights, validate

CACHE = Path(".snakemake") / "beansweep"
GENERATED = "results/dataset/generated"


def checked(check, *arguments):
    """Run a check; on failure end Snakemake with its one sentence, which WorkflowError would put among lines of code."""
    try:
        return check(*arguments)
    except UserError as error:
        print(f"beansweep: {error}", file=sys.stderr)
    except OSError as error:
        print(f"beansweep: {error.filename} cannot be read or written ({error.strerror}): mend that", file=sys.stderr)
    sys.exit(1)


def prepare_folder():
    """Claim the working folder for this run, until its process ends, and check that it can be written."""
    global CLAIM
    CLAIM = checked(working_folder.claim, Path(".snakemake"))
    checked(working_folder.check_writable, Path("results"))
    checked(working_folder.forget_the_future, Path("results"))


def tell_origins():
    """Say which results are of other versions than are installed, or of nobody knows what; nothing reruns for that."""
    # With a deployment method, each rule has an interpreter of its own.
    if not workflow.deployment_settings.deployment_method:
        told = checked(versions.changed, Path("results/logs"))
        if Path("results/dataset/manifest.csv").exists() and not any(Path(".snakemake").glob("metadata/*")):
            told = ("results/ is here without the .snakemake folder that tells what it was made from, so it is taken as "
                    "it is: bring that folder too, or make all anew with --forceall")
        if told:
            # Standard output is for --dag and its like.
            print(told, file=sys.stderr)


def code(script):
    """Digest of a stage's code."""
    return checked(code_digest.of_script, SCRIPTS / f"{script}.py")


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
    killed = "was killed, most often for want of memory: lower train.batch_size or train.image_size, or use fewer cores"
    # No folder's name is taken for an option.
    root = shlex.quote(os.path.join(os.curdir, ROOT))
    prefix = (f'stage() {{ {python} {scripts}/"$1".py --parent $PPID "${{@:2}}" || {{ code=$?; '
              f'if [ $code = 137 ]; then echo "$1: {killed}" >&2; fi; return $code; }}; }}; ROOT={root}; ')
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


def training_priority(wildcards):
    """Trainings come before all that waits for none of them, and of them the last listed first.

    People list small networks first, and a sweep ends with its longest training.
    """
    return 1 + RUNS.index(wildcards.backbone)


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
    rendered = ROOT == GENERATED
    classes = rendered_beans.CLASSES if rendered else checked(image_folders.scan, ROOT)["class"].unique()
    checked(check_classes, config["dataset"]["good_classes"], sorted(classes))
    if rendered:
        return chosen
    return {**chosen, "content": checked(image_folders.fingerprint, ROOT, CACHE / "fingerprint.json")}


def alternatives(names):
    """A wildcard constraint: any of these names; where there are none, nothing at all."""
    return "|".join(names) or "(?!)"


def instruction_set():
    """What the INT8 variants are made for: the configured instruction set, or this machine's."""
    chosen = config["quantization"]["instruction_set"]
    return processors.detect() if chosen == "auto" else chosen


def flag(name, files):
    """An option of a stage, where there is something to give it."""
    files = [files] if isinstance(files, str) else files
    return " ".join([name, *map(shlex.quote, files)]) if files else ""


def graph_of(variant):
    """Which prepared graph a variant is quantized from: as exported, or rewritten for integer kernels."""
    return "rewritten" if config["variants"][variant].get("integer_rewrites") else "exported"


def prepared_of(wildcards):
    return f"results/{wildcards.backbone}/prepared/{graph_of(wildcards.variant)}.onnx"


def calibrations_of(wildcards):
    """The files of ranges that a static recipe may choose from."""
    folder = f"results/{wildcards.backbone}/calibration"
    return [f"{folder}/{graph_of(wildcards.variant)}-{name}.json"
            for name in config["variants"][wildcards.variant]["calibration"]]


def recipe_of(variant):
    """How a variant is made; that it is a baseline matters to the report alone."""
    return {key: value for key, value in config["variants"][variant].items() if key != "baseline"}


def quantize_settings(variant):
    """What a variant depends on beside its files."""
    return {"recipe": recipe_of(variant), "instruction_set": instruction_set()}


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
    return {**recipe_of(variant), "max_accuracy_drop": config["quantization"]["max_accuracy_drop"]}


def base_of(wildcards):
    """The wildcards of the static variant that a variant starts from."""
    base = config["variants"][wildcards.variant]["base"]
    return type(wildcards)(fromdict={"backbone": wildcards.backbone, "variant": base})


def base_inputs(base):
    """A base variant's files: what it was made from, the model, and its metadata."""
    model = f"results/{base.backbone}/{base.variant}"
    return {"model": prepared_of(base), "base_model": f"{model}.onnx", "base_metadata": f"{model}.json"}


def mixed_inputs(wildcards):
    """What a mixed variant is made from: its base, with the ranges and the ranking of layers."""
    base = base_of(wildcards)
    return {**base_inputs(base), "calibrations": calibrations_of(base),
            "sensitivity": f"results/{base.backbone}/sensitivity/{base.variant}.csv"}


def qat_settings(wildcards):
    """How a variant is trained on: its recipe, and what all training of its backbone has."""
    chosen = train_settings(wildcards.backbone)
    return {**recipe_of(wildcards.variant), **{key: chosen[key] for key in ("batch_size", "seed", "threads")}}


def qat_inputs(wildcards):
    return base_inputs(base_of(wildcards))


def bench_settings():
    """How to time; the results of other devices are the report's alone."""
    return {key: value for key, value in config["bench"].items() if key != "device_results"}


def report_settings(missing):
    """What the report depends on beside its files; `missing` is run -> why it is not there."""
    runs = {folder(backbone): [run for run in (repeated(backbone, seed) for seed in config["train"]["seeds"])
                               if run not in missing]
            for backbone in config["backbones"] if folder(backbone) not in missing}
    return {"backbones": list(runs), "variants": VARIANTS, "runs": runs, "missing": missing,
            "baselines": [name for name, recipe in config["variants"].items() if recipe.get("baseline")],
            "devices": config["bench"]["device_results"], **{key: config[key] for key in ("deploy", "report")},
            **{key: config["dataset"][key] for key in ("good_classes", "on_leakage")}}


def why_failed(job):
    """The sentence that a failed job ended with, as its log has it."""
    log = Path(job.log[0])
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    script = job.rule.shellcmd.split()[1]
    said = [line for line in lines if line.startswith(f"{script}: ")]
    return said[-1] if said else f"{script}: was killed or crashed (see {log})"


def report_what_finished():
    """Report the backbones that finished, where --keep-going went on without others.

    To Snakemake this report stays incomplete: the next run makes it anew.
    """
    if not workflow.execution_settings.keep_going:
        return
    unfinished = list(workflow.dag.needrun_jobs())
    report_job = next((job for job in unfinished if job.rule.name == "report"), None)
    after = ("report", "all", "deploy", "deploy_pick")
    lost = {job.wildcards.get("backbone") for job in unfinished if job.rule.name not in after}
    failed = {job.wildcards.get("backbone"): why_failed(job) for job in workflow.scheduler.failed}
    # Lost without a reason of its own: the run was interrupted, or the data set is what failed.
    explained = lost <= set(failed) - {None}
    if report_job is None or not lost or not explained or set(BACKBONES) <= lost:
        return
    whole, part = (shlex.quote(settings(report_settings(missing)))
                   for missing in ({}, {run: failed[run] for run in sorted(lost)}))
    workflow.persistence.started(report_job)
    workflow.async_run(report_job.remove_existing_output())
    try:
        shell("{command}", command=report_job.shellcmd.replace(whole, part))
    except subprocess.CalledProcessError:
        # The stage has said why.
        pass


def deploy_settings():
    """What a bundle depends on beside its files."""
    return {"good_classes": config["dataset"]["good_classes"], "report": config["report"]}
