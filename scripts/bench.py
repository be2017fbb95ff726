"""Time all variants of one backbone, interleaved."""

from pathlib import Path

from beansweep.common import files, progress, stage


def main(args) -> None:
    # Not at the top: each fresh process imports this script too, and its memory is measured.
    from beansweep.benchmark import latency, machine

    backbone = args.metadata[0].parent.name
    metadata_files = {metadata.stem: metadata.resolve() for metadata in args.metadata}
    settings = {**args.settings, "threads": machine.thread_counts(args.settings["threads"])}
    photographs = latency.photographs(args.manifest, args.root, settings["seed"])
    # Before the measurement, so that the load average is not that of the bench itself.
    conditions = {
        "backbone": backbone,
        "machine": machine.describe(settings["threads"][0]),
        "settings": settings,
        "image_size": files.read_json(args.metadata[0])["preprocessing"]["image_size"],
    }
    title = f"bench: {backbone}"
    figures = latency.measure(
        metadata_files, photographs, settings, lambda runs: progress.track(runs, title)
    )
    files.write_json(args.output_latency, conditions | figures)
    progress.say(f"{title}: {latency.medians(figures['variants'])}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output-latency", type=Path, required=True)
    stage.run(parser, main)
