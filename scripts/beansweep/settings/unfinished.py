"""What a sweep has not finished, by its files and by the last lines of its logs.

Paths are relative to the working folder, as Snakemake's are.
"""

from pathlib import Path

from beansweep.common import stage
from beansweep.common.errors import UserError
from beansweep.settings.sweep import INSTRUCTION_SET, MANIFEST, RENDERED_IMAGES, Sweep

LOGS = Path("results/logs")
# What Slurm and its jobs said; logs of jobs that finished are removed.
SLURM_LOGS = Path(".snakemake/slurm_logs")
PARTIAL_REPORT = "results/partial/pareto.md"
# Quantizer -> the stage that makes its variants; all other variants are quantize_int8's.
_QUANTIZE = {
    "mixed": "quantize_mixed",
    "qat": "quantize_qat",
    "activation_swap": "quantize_swapped",
}


def steps(sweep: Sweep, run: str) -> dict[str, Path]:
    """What a run is made of: file -> log of the stage that makes it, in the order of the stages."""
    folder = f"results/{run}"
    logs = LOGS / run
    found = {RENDERED_IMAGES: LOGS / "generate.log"} if sweep.images_are_rendered else {}
    found |= {
        MANIFEST: LOGS / "dataset.log",
        sweep.pixels(run): LOGS / f"decode-{sweep.image_size(run)}.log",
        sweep.inspection(run): LOGS
        / Path(sweep.inspection(run)).parent.name
        / "inspect_backbone.log",
        f"{folder}/checkpoint.pt": logs / "train.log",
        f"{folder}/history.csv": logs / "train.log",
        f"{folder}/fp32.onnx": logs / "export_fp32.log",
        f"{folder}/predictions/fp32.csv": logs / "evaluate-fp32.log",
    }
    if run not in sweep.backbones:
        # Another seed is evaluated in FP32 alone.
        return found
    for variant in sweep.variants_of(run):
        if variant != "fp32":
            found |= _variant_steps(sweep, run, variant)
    for file in sweep.emulated_files(run):
        device, variant = Path(file).parts[-2:]
        found[file] = logs / f"evaluate_emulated-{device}-{Path(variant).stem}.log"
    found[f"{folder}/latency.json"] = logs / "bench.log"
    return found


def _variant_steps(sweep: Sweep, run: str, variant: str) -> dict[str, Path]:
    """What an INT8 variant is made of, as `steps` gives it."""
    folder = f"results/{run}"
    logs = LOGS / run
    recipe = sweep.recipe(variant)
    found = {}
    if "base" not in recipe:
        prepared = sweep.prepared_model(run, variant)
        found[prepared] = logs / f"prepare-{Path(prepared).stem}.log"
        if "instruction_set" in sweep.quantize_inputs(run, variant):
            found[INSTRUCTION_SET] = LOGS / "instruction_set.log"
    if "calibration" in recipe:
        for ranges in sweep.calibrations(run, variant):
            found[ranges] = logs / f"calibrate-{Path(ranges).stem}.log"
    quantize = _QUANTIZE.get(recipe["quantizer"], "quantize_int8")
    found[f"{folder}/{variant}.onnx"] = logs / f"{quantize}-{variant}.log"
    if recipe["quantizer"] == "static":
        found[f"{folder}/sensitivity/{variant}.csv"] = logs / f"sensitivity-{variant}.log"
    found[f"{folder}/predictions/{variant}.csv"] = logs / f"evaluate-{variant}.log"
    float_log = logs / f"evaluate_float_kernels-{variant}.log"
    found[f"{folder}/float_kernels/{variant}.csv"] = float_log
    return found


def jobs(sweep: Sweep) -> set[Path]:
    """The jobs that are to be done up to the report, by their logs, from what files there are."""
    found = {LOGS / "bench_finalists.log", LOGS / "report.log"}
    for run in sweep.runs:
        for file, log in steps(sweep, run).items():
            if not Path(file).exists():
                found.add(log)
    return found


def missing(sweep: Sweep) -> dict[str, str]:
    """The runs that are not complete, and of each why, in one sentence."""
    found = {}
    for run in sweep.runs:
        why = _why_missing(sweep, run)
        if why:
            found[run] = why
    return found


def _why_missing(sweep: Sweep, run: str) -> str | None:
    """Why a run is not complete; None where all of its files are there and its logs finished."""
    needed = steps(sweep, run)
    for log in needed.values():
        why = stage.why_unfinished(log)
        if why:
            return why
    for path, log in needed.items():
        if not Path(path).exists():
            return f"{stage.job(log)} has not run"
    return None


def missing_from_partial_report(sweep: Sweep) -> dict[str, str]:
    """The runs that a report of the complete backbones lacks, and why.

    Raises
    ------
    UserError
        No backbone is complete.
    """
    found = missing(sweep)
    if not sweep.reported_runs(found):
        first, why = next(iter(found.items()))
        raise UserError(
            f"{PARTIAL_REPORT}: no backbone is complete, so there is nothing to report "
            f"({first}: {why})"
        )
    return found


def after_failure(sweep: Sweep, since: float, cores: int | None) -> list[str]:
    """Lines for the end of a run that failed: what was killed, what is complete, and what next.

    Parameters
    ----------
    since : start of the run, in seconds since the epoch
    cores : cores of the run; None on a cluster
    """
    return [*_killed(since), *_killed_by_slurm(since), _summary(sweep, cores)]


def _summary(sweep: Sweep, cores: int | None) -> str:
    """How many backbones are complete, and the command that reports them where some are not."""
    found = missing(sweep)
    complete = len(sweep.reported_runs(found))
    sentence = f"{complete} of {len(sweep.backbones)} backbones finished"
    if complete and found:
        command = f"snakemake --cores {cores}" if cores else "snakemake"
        sentence += (
            f"; for a report of those, run with the same options: {command} {PARTIAL_REPORT}"
        )
    return sentence


def _killed(since: float) -> list[str]:
    """A sentence for each stage that was killed; logs of earlier runs do not count."""
    sentences: list[str] = []
    for log in sorted(LOGS.rglob("*.log")):
        why = stage.why_unfinished(log)
        if why and stage.was_killed(log) and log.stat().st_mtime >= since:
            sentences.append(why)
    return sentences


def _killed_by_slurm(since: float) -> list[str]:
    """A sentence for each job that Slurm ended, with its reason; earlier runs do not count."""
    sentences = []
    for log in sorted(SLURM_LOGS.rglob("*.log")):
        if log.stat().st_mtime < since:
            continue
        for line in stage.lines(log):
            # As in `slurmstepd: error: Exceeded job memory limit`.
            daemon, _, reason = line.partition(": error: ")
            if daemon.startswith("slurmstepd"):
                rule = log.relative_to(SLURM_LOGS).parts[0].removeprefix("rule_")
                sentences.append(
                    f"{rule}: Slurm says: {reason.strip('* ')} ({log}); for want of memory or time "
                    "raise mem_mb or runtime of this rule under set-resources in the profile"
                )
                break
    return sentences
