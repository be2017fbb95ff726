# From folders of photographs to a model to deploy.
#
# Each artifact is a file below results/, and in brackets is the rule that makes it. It is made from
# what is above it on its line; {backbone}/ is left out in the middle part.
#
#   images                                   your folder, or [generate]
#     |
#   dataset/manifest.csv                     [dataset]          splits and classes
#     |
#   dataset/pixels@{size}.npy, .json         [decode]           all images, decoded once for a size
#     |
#   inspection.json                          [inspect_backbone]  what it cannot have
#     |
#   checkpoint.pt                            [train]            one for each backbone and seed
#     |
#   fp32.onnx                                [export_fp32]
#     |
#     +-- predictions/fp32.csv               [evaluate]         which quantizers choose by
#     |
#   prepared/{graph}.onnx                    [prepare]          as exported, or with rewrites
#     |
#   calibration/{graph}-{name}.json          [calibrate]        ranges of activations
#     |
#     |     instruction_set.json             [instruction_set]  of the bench's machine
#     |     |
#   {static, dynamic, weight-only}.onnx      [quantize_int8]
#     |
#     +-- sensitivity/{static}.csv           [sensitivity]      its layers, ranked
#     |     |
#     |     +-- {mixed}.onnx                 [quantize_mixed]   the first of them in float
#     |
#     +-- {qat}.onnx                         [quantize_qat]     trained in INT8
#     |
#     +-- {swapped}.onnx                     [quantize_swapped]  trained with another activation
#     |
#   every {variant}.onnx
#     |
#     +-- predictions/{variant}.csv          [evaluate]
#     |
#     +-- float_kernels/{variant}.csv        [evaluate_float_kernels]
#     |
#     +-- emulated/{device}/{variant}.csv    [evaluate_emulated]  as another processor computes
#     |
#     +-- latency.json                       [bench]            all variants of a backbone at once
#     |
#   finalists.json                           [bench_finalists]  those that could be the pick, timed
#     |                                                         together
#   pareto.csv, pareto.md, report.html       [report]           all candidates, and the pick
#   partial/finalists.json                   [bench_finalists_partial]
#   partial/pareto.md, ...                   [report_partial]   those of complete backbones alone
#     |
#     +-- deploy/                            [deploy_pick]      a folder that runs on a device
#     |
#     +-- {backbone}/deploy/{variant}/       [deploy]           the same of another candidate

from snakemake.utils import min_version

min_version("9.0")


configfile: Path(workflow.basedir) / "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# Your own configuration is merged over config.yaml, where `null` takes a variant out.
SCHEMA = Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"
SWEEP = checked(sweep.read, config, workflow.configfiles, SCHEMA, CACHE, EMULATOR)
IMAGES = Path(SWEEP.images)


wildcard_constraints:
    backbone=alternatives(SWEEP.runs),
    variant=alternatives(SWEEP.variants),
    device=alternatives(config["devices"]),
    calibration=alternatives(config["calibration"]),
    graph="exported|rewritten",


include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/quantize.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/deploy.smk"


checked(working_folder.unlock, RECORDS)
warn_of_other_versions()


onstart:
    claim_folder()
    checked(cost.say, SWEEP, run_cores() or 1)


onerror:
    tell_what_finished()


rule all:
    default_target: True
    input:
        "results/pareto.md",
