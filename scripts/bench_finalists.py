"""Time the candidates that could be the pick, of all backbones, interleaved."""

from pathlib import Path

from beansweep.common import files, progress, stage


def main(args) -> None:
    # Not at the top: each fresh process imports this script too.
    from beansweep.analysis import candidates, pick
    from beansweep.benchmark import joint_latency, latency, machine
    from beansweep.data import manifest

    arguments = dict(args.settings)
    bench, groups = arguments.pop("bench"), manifest.groups(manifest.read(args.manifest))
    table = candidates.read(args.results, **arguments, groups=groups).table
    metadata_files = {}
    for name in pick.finalists(table, arguments["deploy"]):
        backbone, variant = table.loc[name, ["backbone", "variant"]]
        metadata_files[name] = args.results.resolve() / backbone / f"{variant}.json"
    settings = {**bench, "threads": machine.thread_counts(bench["threads"])[:1]}
    photographs = latency.photographs(args.manifest, args.root, settings["seed"])
    # Before the measurement, so that the load average is not that of the bench itself.
    conditions = {"machine": machine.describe(settings["threads"][0]), "settings": settings}
    confidence = args.settings["report"]["confidence"]
    figures = joint_latency.measure(metadata_files, photographs, settings, confidence)
    files.write_json(args.output_finalists, conditions | figures)
    timed = latency.medians(figures["candidates"]) or "no candidate may be deployed"
    progress.say(f"bench of finalists: {timed}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the sweep")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of the images")
    parser.add_argument("--output-finalists", type=Path, required=True)
    stage.run(parser, main)
