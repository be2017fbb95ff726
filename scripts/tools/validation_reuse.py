"""How far validation figures of the pick exceed those of new images, on simulated sweeps.

    python scripts/tools/validation_reuse.py [--sweeps 200]

One validation set serves the choice of an epoch, of a calibration, the limits and the pick. Each
choice takes what happens to look good on it. Here networks are simulated, so the truth is known:
an image has a score that all networks share, each network has errors of its own, and those of
neighbouring epochs are alike. The tool prints, for the pick of each simulated sweep, how far its
validation macro-F1 is above that of the population, how often it misses more defects there than the
limit, and how many good ones it rejects. It does so for one validation set that serves all, for one
that is cut in two, half of it for limits and pick alone, and for one of twice the size.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.analysis import candidates, finalists, pick
from beansweep.analysis.image_set import ImageSet
from beansweep.evaluation import metrics

# Classes, of which the first is good; epochs, backbones, ways to calibrate.
CLASSES, EPOCHS, BACKBONES, CALIBRATIONS = 6, 18, 3, 4
LIMIT, CONFIDENCE = 0.08, 0.95
DEPLOY = {
    "min_macro_f1": 0.85,
    "max_missed_defect_rate": LIMIT,
    "max_rejected_good_rate": None,
    "max_by_hand_rate": 0,
    "max_megabytes": None,
    "max_p50_ms": None,
    "objective": "p50_ms",
}
REPORT = {"confidence": CONFIDENCE, "non_inferiority_margin": 0.01}
ARMS = ("one set for all", "half for the pick", "twice the images")
# Images of each class: the population, and one validation set.
POPULATION, VALIDATION = 2000, 60
# Standard deviations: what images share, what an epoch and what a quantization adds.
SHARED, EPOCH, INT8 = 1.1, 0.9, 0.15


class Population:
    """Images, and networks that classify them."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.true = np.repeat(np.arange(CLASSES), POPULATION)
        self.shape = (len(self.true), CLASSES)
        self.shared = rng.normal(0, SHARED, self.shape)
        self.shared[np.arange(len(self.true)), self.true] += 4.0

    def epochs(self) -> np.ndarray:
        """Logits after each epoch of a training: float32 [epochs, n, classes]."""
        own, found = self.rng.normal(size=self.shape), []
        for epoch in range(EPOCHS):
            # Later epochs differ less from one another, as the learning rate falls.
            step = 0.9 * (1 - epoch / EPOCHS)
            own = np.sqrt(1 - step**2) * own + step * self.rng.normal(size=self.shape)
            error = EPOCH * (1 + np.exp(-epoch / 4))
            found.append((self.shared + error * own).astype(np.float32))
        return np.stack(found)

    def quantized(self, logits: np.ndarray) -> np.ndarray:
        """The same network in INT8."""
        return logits + self.rng.normal(0, INT8, self.shape).astype(np.float32)

    def draw(self, per_class: int) -> np.ndarray:
        """Indices of a set of images, class by class."""
        starts = np.arange(CLASSES) * POPULATION
        drawn = [self.rng.choice(POPULATION, per_class, replace=False) for _ in starts]
        return np.concatenate([start + own for start, own in zip(starts, drawn, strict=True)])


def macro_f1(population: Population, logits: np.ndarray, indices: np.ndarray) -> float:
    predicted = logits[indices].argmax(axis=1)
    return metrics.macro_f1(population.true[indices], predicted, CLASSES)


def swept(population: Population, choose: np.ndarray) -> list[np.ndarray]:
    """Logits of all candidates: each backbone's best epoch, and its INT8 variant.

    Parameters
    ----------
    choose : indices of the images that the epoch and the calibration are chosen on
    """
    found = []
    for _ in range(BACKBONES):
        epochs = population.epochs()
        best = max(epochs, key=lambda logits: macro_f1(population, logits, choose))
        tries = [population.quantized(best) for _ in range(CALIBRATIONS)]
        errors = [np.abs(logits[choose] - best[choose]).mean() for logits in tries]
        found += [best, tries[int(np.argmin(errors))]]
    return found


def image_set(population: Population, networks: list[np.ndarray], indices: np.ndarray) -> ImageSet:
    """What candidates predict for some of the images."""
    logits = np.stack([network[indices] for network in networks]).astype(float)
    likelihood = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = likelihood / likelihood.sum(axis=-1, keepdims=True)
    return ImageSet(
        labels=[str(label) for label in range(CLASSES)],
        true=population.true[indices],
        predicted=logits.argmax(axis=-1),
        scores=1 - probabilities[..., 0],
        is_defect=np.arange(CLASSES) > 0,
        group=np.arange(len(indices)),
    )


def outcome(population: Population, networks: list[np.ndarray], judge: np.ndarray) -> dict | None:
    """The pick on some images, and its figures there and in the population."""
    names = [f"net{place // 2}:{('fp32', 'int8')[place % 2]}" for place in range(len(networks))]
    table = pd.DataFrame({"backbone": [name.split(":")[0] for name in names]}, names)
    table["baseline"], table["portability"], table["megabytes"] = False, "", 1.0
    finalists.mark_timed_alone(table, "a machine")
    table["p50_ms"] = table["p50_high_ms"] = np.arange(len(names), 0, -1.0)
    images = {
        "val": image_set(population, networks, judge),
        "test": image_set(population, networks, np.arange(len(population.true))),
    }
    reference = np.arange(len(names)) // 2 * 2
    judged = candidates.judge(images["val"], table.index, reference, REPORT)
    table = table.join(judged.add_prefix("val_"))
    candidates.decide(table, images, DEPLOY, CONFIDENCE)
    chosen = pick.choose(table, DEPLOY)
    if chosen is None:
        return None
    row, place = table.loc[chosen], names.index(chosen)
    everything = np.arange(len(population.true))
    return {
        "optimism": row["val_macro_f1"] - macro_f1(population, networks[place], everything),
        "outside": row["val_macro_f1_low"] > macro_f1(population, networks[place], everything),
        "broken": row["test_missed_defect_rate"] > LIMIT,
        "rejected": row["test_rejected_good_rate"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows: dict[str, list[dict]] = {name: [] for name in ARMS}
    for number in range(args.sweeps):
        for name, found in rows.items():
            population = Population(np.random.default_rng([args.seed, number]))
            size = VALIDATION * (2 if name == "twice the images" else 1)
            choose = judge = population.draw(size)
            if name == "half for the pick":
                choose, judge = judge[::2], judge[1::2]
            result = outcome(population, swept(population, choose), judge)
            if result:
                found.append(result)
    for name in ARMS:
        table = pd.DataFrame(rows[name]).astype(float)
        means, error = table.mean().to_dict(), table.sem().to_dict()["optimism"]
        print(
            f"{name}: {len(table)} of {args.sweeps} sweeps have a pick; validation macro-F1 is "
            f"{means['optimism']:+.4f} above the population's (standard error {error:.4f}); its "
            f"interval is above it in {means['outside']:.1%}; the limit is broken in "
            f"{means['broken']:.1%}; good ones rejected {means['rejected']:.2%}"
        )


if __name__ == "__main__":
    main()
