"""All that the report is written from."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import candidates, emulated, intervals, pick, stability, timing
from beansweep.analysis.candidates import Candidates
from beansweep.benchmark import device_results
from beansweep.common import files
from beansweep.data import image_folders
from beansweep.data import manifest as manifests
from beansweep.evaluation import metrics, predictions
from beansweep.report import mistakes
from beansweep.report.decision import Choice


@dataclass
class ReportData:
    """A finished sweep, as the report reads it.

    Attributes
    ----------
    settings : of the stage; backbones, variants, left_out, runs, missing, baselines,
        devices, emulated, deploy, report, good_classes, on_leakage, on_unreadable and bits
    candidates : the table, and what all candidates predict
    choice : what the pick is chosen from
    subject : row of the candidate that is shown in detail: the pick, or the nearest
    recipes : variant -> how it was made for the first backbone that has it
    benches : backbone -> contents of its latency.json, with intervals
    together : contents of finalists.json
    manifest : a row an image
    skipped : paths of the images that cannot be read, where these are skipped
    near_duplicates : a row a pair of images
    histories : backbone -> a row an epoch of its training
    seed_scores : backbone -> FP32's test macro-F1 of each of its trainings
    mistakes : candidate -> its mistakes
    confusions : title -> confusion matrix on the test images, int [classes, classes]
    labels : class names, in the order of the confusion matrices
    devices : other machines that candidates were timed on
    emulated : name -> device that predictions were emulated for
    """

    settings: dict
    candidates: Candidates
    choice: Choice
    subject: pd.Series
    recipes: dict[str, dict]
    benches: dict[str, dict]
    together: dict
    manifest: pd.DataFrame
    skipped: list[str]
    near_duplicates: pd.DataFrame
    histories: dict[str, pd.DataFrame]
    seed_scores: dict[str, list[float]]
    mistakes: dict[str, mistakes.Mistakes]
    confusions: dict[str, np.ndarray]
    labels: list[str]
    devices: list[device_results.Device]
    emulated: dict[str, emulated.Emulated]

    @property
    def table(self) -> pd.DataFrame:
        """A row a candidate, see `analysis.candidates.read`."""
        return self.candidates.table

    @property
    def chosen(self):
        """Index label of the pick; None where no candidate may be deployed."""
        return self.choice.chosen

    @property
    def machine(self) -> dict:
        """The machine of the benchmark of the candidate that is shown in detail."""
        return self.benches[self.subject["backbone"]]["machine"]

    @property
    def confidence(self) -> str:
        """Confidence of the intervals in words: `95%`."""
        return intervals.percent(self.settings["report"]["confidence"])

    @property
    def has_int8(self) -> bool:
        """Whether any candidate is INT8."""
        return bool((self.table["variant"] != "fp32").any())

    @property
    def test_counts(self) -> dict[str, int]:
        """Class -> number of its test images."""
        test = self.manifest[self.manifest["split"] == "test"]
        counts = test["class"].value_counts()
        return {label: int(counts[label]) for label in self.labels}

    @property
    def test_images(self) -> int:
        """Number of test images."""
        return sum(self.test_counts.values())

    @property
    def leaks(self) -> pd.DataFrame:
        """Pairs of near-duplicates in two splits."""
        return self.near_duplicates[self.near_duplicates["crosses_splits"]]


def read(
    settings: dict,
    results: Path,
    manifest: Path,
    near_duplicates: Path,
    finalists: Path,
    root: Path,
) -> ReportData:
    """Read a finished sweep.

    Parameters
    ----------
    settings : of the stage, see ReportData
    results : folder of the sweep
    manifest, near_duplicates : files of the data set
    finalists : finalists.json
    root : folder of the images
    """
    backbones, deploy = settings["backbones"], settings["deploy"]
    confidence, together = settings["report"]["confidence"], files.read_json(finalists)
    images = manifests.read(manifest)
    found = candidates.read(
        results,
        backbones,
        settings["variants"],
        settings["good_classes"],
        deploy,
        settings["report"],
        settings["baselines"],
        manifests.groups(images),
        together,
        settings["left_out"],
    )
    table = found.table
    choice = _choice(found)
    shown = choice.chosen if choice.chosen is not None else pick.nearest(table, deploy)[0]
    subject = table.loc[[shown]].iloc[0]
    benches = timing.read_all(results, backbones, confidence)
    confusions, labels = _confusions(results, subject, table)
    machine, groups = benches[subject["backbone"]]["machine"], manifests.groups(images)
    devices = _devices(settings, table, results, machine)
    others = _emulated(settings, found, results, groups, machine)
    for device in devices:
        table[f"p50_ms_on_{device.name}"] = device.table["p50_ms"]
    for name, other in others.items():
        table[f"test_macro_f1_on_{name}"] = other.table["test_macro_f1"]
        for figure in ("images", "otherwise", "largest_difference"):
            table[f"{figure}_on_{name}"] = other.differences[figure]
    return ReportData(
        settings=settings,
        candidates=found,
        choice=choice,
        subject=subject,
        recipes=_recipes(results, table),
        benches=benches,
        together=together,
        manifest=images,
        skipped=_skipped(images, root) if settings["on_unreadable"] == "skip" else [],
        near_duplicates=pd.read_csv(near_duplicates, keep_default_na=False),
        histories={name: pd.read_csv(results / name / "history.csv") for name in backbones},
        seed_scores=_seed_scores(results, settings["runs"]),
        mistakes=_mistakes(results, table, settings["good_classes"]),
        confusions=confusions,
        labels=labels,
        devices=devices,
        emulated=others,
    )


def _skipped(manifest: pd.DataFrame, root: Path) -> list[str]:
    """Paths of the images that are not in the manifest, as they cannot be read."""
    paths = image_folders.scan(root)["path"]
    return paths[~paths.isin(manifest["path"])].tolist()


def _choice(found: Candidates) -> Choice:
    """What the pick is chosen from, on the machine of the benchmark."""
    tables: dict[str, pd.DataFrame] = {}

    def decide(deploy: dict) -> pd.DataFrame:
        # The text and the page ask for the same ones.
        key = repr(sorted(deploy.items()))
        if key not in tables:
            tables[key] = found.under(deploy)
        return tables[key]

    return Choice(
        table=found.table,
        deploy=found.deploy,
        confidence=found.report["confidence"],
        decide=decide,
        steps=found.limit_steps,
        picks=stability.picks(found),
    )


def choice_on(device: device_results.Device, sweep: ReportData) -> Choice:
    """What the pick on a device is chosen from: its times, and its accuracy where all is known."""
    here, other = sweep.choice, sweep.emulated.get(device.name)

    def decide(deploy: dict) -> pd.DataFrame:
        decided = here.decide(deploy)
        if other and other.complete:
            decided = other.onto(decided, deploy, here.confidence)
        table = device_results.with_decisions(device.table, decided)
        candidates.mark_front(table)
        candidates.judge_pick(table, deploy)
        return table

    return replace(here, table=decide(here.deploy), decide=decide, picks=here.picks.head(0))


def _recipes(results: Path, table: pd.DataFrame) -> dict[str, dict]:
    """How each variant was made for the first backbone that has it; empty for FP32."""
    recipes = {}
    for _, row in table.drop_duplicates("variant").iterrows():
        metadata = files.read_json(results / row["backbone"] / f"{row['variant']}.json")
        recipes[row["variant"]] = metadata.get("recipe", {})
    return recipes


def _devices(
    settings: dict, table: pd.DataFrame, results: Path, machine: dict
) -> list[device_results.Device]:
    """The other machines that candidates were timed on."""
    devices = []
    for name, paths in settings["devices"].items():
        device = device_results.read(
            name,
            list(map(Path, paths)),
            table,
            results,
            machine["instruction_set"],
            settings["report"]["confidence"],
        )
        candidates.judge_pick(device.table, settings["deploy"])
        devices.append(device)
    return devices


def _emulated(
    settings: dict, found: Candidates, results: Path, groups: pd.Series, machine: dict
) -> dict[str, emulated.Emulated]:
    """The devices that predictions were emulated for, by their names."""
    others = {}
    for name, processor in settings["emulated"].items():
        others[name] = emulated.read(
            results,
            name,
            processor,
            found,
            settings["good_classes"],
            groups,
            settings["baselines"],
            machine["instruction_set"],
        )
    return others


def _confusions(
    results: Path, subject: pd.Series, table: pd.DataFrame
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Test confusion matrices of FP32 and of the candidate shown in detail, and the class names.

    Where that candidate is FP32 itself, they are of FP32 and of the first INT8 variant.
    """
    backbone, shown = subject["backbone"], subject["variant"]
    variants = table.loc[table["backbone"] == backbone, "variant"].tolist()
    others = [shown] if shown != "fp32" else variants[1:2]
    matrices: dict[str, np.ndarray] = {}
    labels: list[str] = []
    for variant in ["fp32", *others]:
        found = predictions.read(results / backbone / f"predictions/{variant}.csv")
        true, predicted, labels = predictions.test_classes(found)
        confusion = metrics.summarise(true, predicted, len(labels))["confusion"]
        matrices[f"{backbone}\n{variant}"] = np.array(confusion)
    return matrices, labels


def _seed_scores(results: Path, runs: dict[str, list[str]]) -> dict[str, list[float]]:
    """FP32's test macro-F1 of every training.

    Parameters
    ----------
    runs : backbone -> its trainings, one a seed
    """
    scores: dict[str, list[float]] = {}
    for backbone, trainings in runs.items():
        scores[backbone] = []
        for training in trainings:
            found = predictions.read(results / training / "predictions/fp32.csv")
            true, predicted, labels = predictions.test_classes(found)
            scores[backbone].append(metrics.macro_f1(true, predicted, len(labels)))
    return scores


def _mistakes(
    results: Path, table: pd.DataFrame, good_classes: list[str] | None
) -> dict[str, mistakes.Mistakes]:
    """Each candidate's mistakes, by its name."""
    found = {}
    for name, row in table.iterrows():
        folder = results / row["backbone"] / "predictions"
        fp32 = table.loc[[f"{row['backbone']}:fp32"]].iloc[0]
        ship_below = {"fp32": fp32["ship_below"], row["variant"]: row["ship_below"]}
        found[str(name)] = mistakes.find(folder, row["variant"], good_classes, ship_below)
    return found
