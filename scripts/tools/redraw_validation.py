"""Draw the validation images of a finished sweep many times, and see what is picked.

    python scripts/tools/redraw_validation.py [--configfile mine.yaml] [--redraws 400]

Run it in the folder of the sweep. The population is the validation and test images of the sweep
with the predictions of every candidate. Each redraw is a validation set of the same size drawn from
it with replacement, class by class. Candidates get their operating points from the redraw, are
compared on it, and one is picked. What a pick misses and rejects in the whole population is then
known. Each image counts by itself, near-duplicates too.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from snakemake.utils import update_config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.analysis import candidates, decisions, limits, operating_point, pick, standing
from beansweep.analysis.candidates import Candidates
from beansweep.analysis.image_set import ImageSet
from beansweep.common import files
from beansweep.data import manifest
from beansweep.settings import sweep

PROJECT = Path(__file__).resolve().parents[2]
NOTHING = "nothing"


def finished_sweep(configfiles: list[Path]) -> Candidates:
    """The candidates of the sweep in this folder."""
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    for path in configfiles:
        update_config(config, yaml.safe_load(path.read_text()))
    schema = PROJECT / "workflow/schemas/config.schema.yaml"
    cache, emulator = Path(".snakemake/beansweep"), PROJECT / ".emulator"
    found = sweep.read(config, configfiles, schema, cache, emulator)
    settings = found.report_settings(missing={})
    return candidates.read(
        Path("results"),
        settings["backbones"],
        settings["variants"],
        settings["good_classes"],
        settings["deploy"],
        settings["report"],
        settings["baselines"],
        manifest.groups(manifest.read(Path(sweep.MANIFEST))),
        files.read_json(Path("results/finalists.json")),
        settings["left_out"],
    )


def population(finished: Candidates) -> ImageSet:
    """Validation and test images together."""
    val, test = finished.images["val"], finished.images["test"]
    true = np.concatenate([val.true, test.true])
    return ImageSet(
        labels=val.labels,
        true=true,
        predicted=np.concatenate([val.predicted, test.predicted], axis=1),
        scores=np.concatenate([val.scores, test.scores], axis=1),
        is_defect=val.is_defect,
        group=np.arange(len(true)),
    )


def redraw(rng: np.random.Generator, pool: ImageSet, sizes: np.ndarray) -> ImageSet:
    """A validation set from the population.

    Parameters
    ----------
    sizes : int [classes], how many images of each class to draw
    """
    times = np.zeros(len(pool.true), int)
    for label, size in enumerate(sizes):
        own = np.flatnonzero(pool.true == label)
        times += np.bincount(rng.choice(own, size), minlength=len(times))
    return pool.repeat(times)


def judged(finished: Candidates, images: ImageSet) -> pd.DataFrame:
    """The table of candidates with these validation images."""
    table = finished.table.copy()
    reference = table.index.get_indexer(pd.Index(table["backbone"] + ":fp32"))
    accuracy = candidates.judge(images, table.index, reference, finished.report)
    for column in accuracy:
        table[f"val_{column}"] = accuracy[column]
    candidates.decide(table, {"val": images}, finished.deploy, finished.report["confidence"])
    return table


def outcome(finished: Candidates, pool: ImageSet, table: pd.DataFrame) -> dict:
    """What is picked with one validation set, and what the pick does in the population."""
    deploy = finished.deploy
    name = pick.choose(table, deploy)
    if name is None:
        return {"pick": NOTHING, "backbone": NOTHING}
    row, place = table.loc[name], table.index.tolist().index(name)
    point = operating_point.OperatingPoint(row["ship_below"], row["reject_from"])
    own = pool.only(place)
    figures = decisions.figures(own, [point], finished.report["confidence"])[0]
    limit = deploy["max_missed_defect_rate"]
    return {
        "pick": name,
        "backbone": row["backbone"],
        "baseline": row["baseline"],
        "dominated": bool(_dominated(table, name, deploy)),
        "p50_ms": row["p50_ms"],
        "rejected_good_rate": figures["rejected_good_rate"],
        "missed_defect_rate": figures["missed_defect_rate"],
        "limit_broken": limit is not None and figures["missed_defect_rate"] > limit,
    }


def _dominated(table: pd.DataFrame, name: str, deploy: dict) -> list[str]:
    """The candidates that beat the pick in p50 and in quality, and are not shown worse."""
    row = table.loc[name]
    goal, _ = pick.quality(standing.of(table))
    found = []
    for label, other in table[~table["baseline"] & (table["portability"] == "")].iterrows():
        faster = other["p50_ms"] < row["p50_ms"]
        better = goal.direction * (other[goal.column] - row[goal.column]) > 0
        worse = any(name in other[column] for column in standing.COMPARISONS)
        kept = all(
            limit.met(other[limit.column], deploy[limit.key])
            for limit in limits.limits_set(deploy)
            if not limit.worse
        )
        if faster and better and kept and not worse:
            found.append(str(label))
    return found


def summary(outcomes: pd.DataFrame, ideal: dict, limit: float | None) -> str:
    """What the redraws show, in words."""
    count = len(outcomes)
    lines = [f"{count} redraws", ""]
    for column in ("pick", "backbone"):
        lines.append(f"{column}:")
        for name, share in outcomes[column].value_counts(normalize=True).items():
            lines.append(f"  {share:6.1%}  {name}")
    picked = outcomes[outcomes["pick"] != NOTHING]
    if len(picked):
        lines += [
            "",
            f"a baseline: {int(picked['baseline'].sum())}, "
            f"dominated: {int(picked['dominated'].sum())}",
            f"limit on missed defects ({limit}) broken: {picked['limit_broken'].sum() / count:.1%}",
            f"mean p50 {picked['p50_ms'].mean():.3f} ms, mean good ones rejected "
            f"{picked['rejected_good_rate'].mean():.2%}, mean defects missed "
            f"{picked['missed_defect_rate'].mean():.2%}",
        ]
    if ideal["pick"] != NOTHING:
        lines.append(
            f"with the whole population for validation: {ideal['pick']}, p50 {ideal['p50_ms']:.3f} "
            f"ms, good ones rejected {ideal['rejected_good_rate']:.2%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, nargs="+", default=[])
    parser.add_argument("--redraws", type=int, default=400)
    parser.add_argument("--images-per-class", type=int, help="instead of as many as the sweep has")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    finished = finished_sweep(args.configfile)
    pool = population(finished)
    sizes = np.bincount(finished.images["val"].true, minlength=len(pool.labels))
    if args.images_per_class:
        sizes[:] = args.images_per_class
    rng = np.random.default_rng(args.seed)
    outcomes = []
    for _ in range(args.redraws):
        table = judged(finished, redraw(rng, pool, sizes))
        outcomes.append(outcome(finished, pool, table))
    ideal = outcome(finished, pool, judged(finished, pool))
    limit = finished.deploy["max_missed_defect_rate"]
    print(summary(pd.DataFrame(outcomes), ideal, limit))


if __name__ == "__main__":
    main()
