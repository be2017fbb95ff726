# From folders of photographs to a model to deploy:
#
#   dataset -> train -> export_fp32 -> calibrate -> quantize_int8 -> evaluate -> bench -> report
#
# Every artifact is a file below results/; the rules are in workflow/rules, one file a family.

import re

from snakemake.utils import min_version

min_version("9.0")


configfile: Path(workflow.basedir) / "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# A configuration of one's own is merged over config.yaml: `null` takes a variant of it out.
if isinstance(config["variants"], dict):
    config["variants"] = {name: recipe for name, recipe in config["variants"].items() if recipe is not None}

checked(validate, config, Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
checked(check_backbones, config["backbones"], CACHE / "backbones.json")
checked(check_weights, config)
checked(check_device_results, config["bench"]["device_results"])

BACKBONES = [folder(backbone) for backbone in config["backbones"]]
INT8_VARIANTS = list(config["variants"])
VARIANTS = ["fp32", *INT8_VARIANTS]
RUNS = [repeated(backbone, seed) for backbone in config["backbones"] for seed in config["train"]["seeds"]]
STATIC, MIXED, QAT = ([name for name, recipe in config["variants"].items() if recipe["quantizer"] == kind]
                      for kind in ("static", "mixed", "qat"))
ROOT = config["dataset"]["root"] or GENERATED

shell.prefix(shell_prefix())


wildcard_constraints:
    backbone="|".join(map(re.escape, RUNS)),
    variant="|".join(VARIANTS),
    calibration="|".join(config["calibration"]),
    graph="exported|rewritten",


include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/quantize.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/deploy.smk"


if workflow.is_main_process:
    checked(working_folder.unlock, Path(".snakemake"))
    tell_origins()


onstart:
    prepare_folder()


onerror:
    report_what_finished()


rule all:
    input:
        "results/pareto.md",
    default_target: True
