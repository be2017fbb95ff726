"""Time every variant of one backbone beside the others."""

from pathlib import Path

from beansweep.common import files, processors, progress, stage

IMAGES = 32


def main(args) -> None:
    # Not above: each fresh process imports this file too, and its memory is measured.
    from beansweep.benchmark import latency, machine
    from beansweep.data import manifest

    metadata_files = {metadata.stem: metadata.resolve() for metadata in args.metadata_files}
    settings = {**args.settings, "threads": thread_counts(args.settings["threads"])}
    paths = manifest.paths(manifest.read(args.manifest), "test", IMAGES, settings["seed"])
    photographs = [(args.root / path).read_bytes() for path in paths]
    backbone = args.metadata_files[0].parent.name
    # Before the measurement: what it finds, not the load that it makes.
    found = machine.describe()
    result = latency.measure(
        metadata_files,
        photographs,
        settings,
        lambda runs: progress.track(runs, f"bench: {backbone}"),
    )
    files.write_json(
        args.output,
        {
            "backbone": backbone,
            "machine": found,
            "settings": settings,
            "image_size": files.read_json(args.metadata_files[0])["preprocessing"]["image_size"],
            **result,
        },
    )
    progress.say(
        f"bench: {backbone}: "
        + ", ".join(
            f"{name} p50 {figures['p50_ms']:.2f} ms" for name, figures in result["variants"].items()
        )
    )


def thread_counts(wanted: int | list[int]) -> list[int]:
    """The numbers of threads to time: those that there are processors for."""
    wanted = wanted if isinstance(wanted, list) else [wanted]
    possible = [each for each in wanted if each <= processors.cpus()]
    if possible != wanted:
        progress.say(
            f"bench: of bench.threads {wanted} only {possible or [processors.cpus()]} can be timed: "
            f"there are {processors.cpus()} processors"
        )
    return possible or [processors.cpus()]


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata_files", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
