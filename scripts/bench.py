"""Time every variant of one backbone beside the others."""

from pathlib import Path

from beansweep import files, images, latency, manifest, stage

IMAGES = 32


def main(args) -> None:
    cards = {card.stem: card.resolve() for card in args.cards}
    preprocessing = files.read_json(args.cards[0])["preprocessing"]
    paths = manifest.paths(manifest.read(args.manifest), "test", IMAGES, args.settings["seed"])
    inputs = images.normalise(images.load(args.root, paths, preprocessing["image_size"]), preprocessing)
    backbone = args.cards[0].parent.name

    def watch(processes):
        return stage.progress(processes, f"bench: {backbone}")

    # Before the measurement: what it finds, not the load that it makes.
    machine = latency.machine()
    variants = latency.measure(cards, inputs, args.settings, watch)
    files.write_json(args.output, {
        "backbone": backbone, "machine": machine, "settings": args.settings,
        "image_size": preprocessing["image_size"], "variants": variants,
    })
    stage.say(f"bench: {backbone}: " + ", ".join(f"{name} p50 {figures['p50_ms']:.2f} ms"
                                                for name, figures in variants.items()))


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--cards", type=Path, nargs="+", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
