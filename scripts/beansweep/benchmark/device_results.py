"""Times from the devices that a model is for: files that `predict.py --bench` wrote there."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import candidates, finalists, portability, timing
from beansweep.common import files, processors
from beansweep.common.errors import UserError


@dataclass
class Device:
    """A device, and the candidates that were timed on it.

    Attributes
    ----------
    machine : description of the device from its files, with its instruction set
    table : one row for each candidate that was timed there, with the accuracy measured here and
        the times measured there
    missing : candidates that were not timed there
    changed : candidates that have another accuracy there, because kernels saturate on only one of
        the two machines
    disagreeing : candidate -> message of `predict.py --check`, where its sample images gave other
        outputs there
    """

    name: str
    machine: dict
    threads: int
    table: pd.DataFrame
    missing: list[str]
    changed: list[str]
    disagreeing: dict[str, str]


@dataclass
class Measurement:
    """What one file of `predict.py --bench` says: a candidate's times, and where they are from."""

    path: Path
    backbone: str
    variant: str
    sha256: str
    machine: dict
    threads: int
    times: dict
    agrees: bool
    message: str

    @property
    def candidate(self) -> str:
        """The candidate's name in the table of all candidates."""
        return f"{self.backbone}:{self.variant}"

    @property
    def conditions(self) -> str:
        """What all files of one device have in common."""
        machine = self.machine
        return finalists.conditions(machine, self.threads)


def read(
    name: str,
    paths: list[Path],
    table: pd.DataFrame,
    results: Path,
    here: str,
    confidence: float,
) -> Device:
    """Read the device called `name` from its files.

    Parameters
    ----------
    name : key under bench.device_results
    paths : files that `predict.py --bench` wrote, at least one
    table : all candidates; see `candidates.table`
    results : folder with a folder for each backbone
    here : instruction set that accuracy was measured on
    confidence : of the intervals

    Raises
    ------
    UserError
        A file is not one of `--bench`; it is not of a candidate of this sweep; its model is not
        the candidate's present one; two files are of one candidate; or the files are not all from
        one machine and thread count.
    """
    where = f"bench.device_results.{name}"
    measured: dict[str, Measurement] = {}
    recipes = {}
    for path in paths:
        measurement = _read_file(path, where, confidence)
        measurement.variant = _first_name(measurement, table)
        recipes[measurement.candidate] = _check_model(measurement, table, results, where)
        _check_others(measurement, measured, where)
        measured[measurement.candidate] = measurement
    first = next(iter(measured.values()))
    changed, disagreeing = [], {}
    for candidate, measurement in measured.items():
        if portability.saturation(recipes[candidate], here, first.machine["instruction_set"]):
            changed.append(candidate)
        if not measurement.agrees:
            disagreeing[candidate] = measurement.message
    return Device(
        name,
        first.machine,
        first.threads,
        _with_times(table, measured),
        table.index[~table.index.isin(list(measured))].tolist(),
        changed,
        disagreeing,
    )


def _read_file(path: Path, where: str, confidence: float) -> Measurement:
    """Read a file of `predict.py --bench`."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        candidate, check, machine = (contents[key] for key in ("candidate", "check", "machine"))
        instruction_set = processors.of_flags(machine["flags"].split(), machine["architecture"])
        return Measurement(
            path,
            candidate["backbone"],
            candidate["variant"],
            candidate["sha256"],
            {**machine, "instruction_set": instruction_set},
            contents["settings"]["threads"],
            _summarise(contents, confidence),
            check["agrees"],
            check["said"],
        )
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{where}: {path} is not what predict.py --bench writes: write it again on the device"
        ) from error


def _summarise(contents: dict, confidence: float) -> dict:
    """The figures of a latency.json that a file of `--bench` has the samples for.

    Parameters
    ----------
    contents : `samples_ms` and `end_to_end_samples_ms` [processes][queries], `load_ms` and
        `first_query_ms` [processes], all in ms
    """
    # A device's file has batch 1 and one round a process.
    samples = np.asarray(contents["samples_ms"], float)[:, None]
    figures = timing.summarise(samples, 1) | timing.p50_interval(samples, confidence)
    end_to_end = np.concatenate(contents["end_to_end_samples_ms"])
    figures |= timing.percentiles(end_to_end, (50, 90), "end_to_end_")
    for key in ("load_ms", "first_query_ms"):
        figures[key] = float(np.median(contents[key]))
    return figures


def _first_name(measurement: Measurement, table: pd.DataFrame) -> str:
    """The variant that a file's candidate goes by, where several variants are the same file."""
    for _, row in table[table["backbone"] == measurement.backbone].iterrows():
        if measurement.variant in row["also"]:
            return row["variant"]
    return measurement.variant


def _check_model(measurement: Measurement, table: pd.DataFrame, results: Path, where: str) -> dict:
    """Check that a file is of a candidate's present model, and return that model's recipe."""
    words = f"{measurement.backbone} {measurement.variant}"
    if measurement.candidate not in table.index:
        raise UserError(
            f"{where}: {measurement.path} is of {words}, which is not a candidate of this sweep: "
            "remove it from the list"
        )
    metadata = files.read_json(results / measurement.backbone / f"{measurement.variant}.json")
    if measurement.sha256 != metadata["sha256"]:
        raise UserError(
            f"{where}: {measurement.path} was measured with another model than {words} is now: "
            "bundle the model and run predict.py --bench on the device again"
        )
    return metadata["recipe"]


def _check_others(measurement: Measurement, measured: dict[str, Measurement], where: str) -> None:
    """Check that a file agrees with those read before it."""
    same = measured.get(measurement.candidate)
    if same:
        raise UserError(
            f"{where}: {same.path} and {measurement.path} are both of "
            f"{measurement.backbone} {measurement.variant}: keep one"
        )
    for first in measured.values():
        if measurement.conditions != first.conditions:
            raise UserError(
                f"{where}: {first.path} and {measurement.path} differ in processor, ONNX Runtime "
                f"or threads ({first.conditions}, {measurement.conditions}): "
                "give each machine a name of its own"
            )


def _with_times(table: pd.DataFrame, measured: dict[str, Measurement]) -> pd.DataFrame:
    """The measured rows of the table, with a device's times and the front that follows from them.

    Each candidate was timed alone, so a speedup has no interval. Memory was not measured.
    """
    rows = table[table.index.isin(list(measured))].copy()
    # As numbers also where each file is of one process, whose p50 has no interval.
    times = pd.DataFrame([measured[name].times for name in rows.index], rows.index, dtype=float)
    rows[times.columns] = times
    fp32 = rows[rows["variant"] == "fp32"].set_index("backbone")["p50_ms"]
    rows["speedup"] = rows["backbone"].map(fp32) / rows["p50_ms"]
    rows[["speedup_low", "speedup_high", "peak_memory_mb", "model_memory_mb"]] = np.nan
    _keep_rivals(rows)
    finalists.mark_timed_alone(rows, next(iter(measured.values())).conditions)
    candidates.mark_front(rows)
    return rows


def with_decisions(timed: pd.DataFrame, decided: pd.DataFrame) -> pd.DataFrame:
    """The candidates of a device as they decide under another limit.

    Parameters
    ----------
    timed : table of the device
    decided : table of all candidates under the limit, see `Candidates.under`
    """
    columns = []
    for column in map(str, decided):
        if column.startswith(("val_", "test_")) or column in ("ship_below", "reject_from"):
            columns.append(column)
    rows = timed.drop(columns=columns, errors="ignore").join(decided[columns])
    _keep_rivals(rows)
    return rows


def _keep_rivals(rows: pd.DataFrame) -> None:
    """Leave only candidates of the table in its lists of better candidates, in place."""
    for column in candidates.COMPARISON_COLUMNS:
        rows[column] = [[name for name in names if name in rows.index] for names in rows[column]]
