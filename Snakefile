# From folders of photographs to a model to deploy.
#
# Every artifact is a file below results/. Each is drawn once, with the rule that makes it; a rule
# that makes several artifacts is drawn at each. An arrow says what an artifact is made from.
#
#   images                           your folder, or generate
#     |
#     v
#   dataset/manifest.csv             dataset            splits, classes, near-duplicates
#     |
#     v
#   checkpoint.pt, history.csv       train              each backbone, with each seed
#     |
#     v
#   fp32.onnx ---------------------> evaluate           predictions/fp32.csv, which quantization
#     |                                                 makes its choices by
#     v
#   prepared/{graph}.onnx            prepare            as exported, or rewritten for INT8
#     |
#     v
#   calibration/{graph}-{name}.json  calibrate          ranges of activations
#     |
#     v
#   {static, ...}.onnx               quantize_int8      static, dynamic and weight-only variants
#     |
#     +----------------------------> sensitivity        sensitivity/{variant}.csv: layers ranked
#     |                                   |
#     |                                   v
#     +----------------------------> quantize_mixed     {mixed}.onnx: some layers stay in float
#     |
#     +----------------------------> quantize_qat       {qat}.onnx: trained on
#     |
#     v
#   every {variant}.onnx
#     |
#     +--> predictions/{variant}.csv     evaluate
#     +--> float_kernels/{variant}.csv   evaluate_float_kernels
#     +--> latency.json                  bench          all variants of a backbone, interleaved
#            |
#            v
#   pareto.csv, pareto.md,           report             all candidates, the front and the pick
#   report.html, figures/              |
#     |                              report_partial     partial/: the same, of what is complete
#     v
#   deploy/                          deploy_pick        the pick, to run without this project
#   {backbone}/deploy/{variant}/     deploy             any other candidate

from snakemake.utils import min_version

min_version("9.0")


configfile: Path(workflow.basedir) / "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# A configuration of one's own is merged over config.yaml: `null` takes a variant of it out.
SWEEP = checked(
    sweep.read, config, SCRIPTS.with_name("workflow") / "schemas/config.schema.yaml", CACHE
)
IMAGES = Path(SWEEP.images)


wildcard_constraints:
    backbone=alternatives(SWEEP.runs),
    variant=alternatives(SWEEP.variants),
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


onerror:
    tell_what_finished()


rule all:
    default_target: True
    input:
        "results/pareto.md",
