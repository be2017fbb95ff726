"""Times from the machines that a model is for: files that `predict.py --bench` wrote there."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep.analysis import candidates, portability
from beansweep.benchmark import latency
from beansweep.common import files, processors
from beansweep.common.errors import UserError


@dataclass
class Device:
    """A machine, and the candidates that were timed there.

    `machine` is that of the files, with its instruction set; `table` has a row a candidate timed
    there, with the accuracy measured here and the times from there; `missing` names the other
    candidates, `changed` those whose accuracy will be another there, and `disagreeing` maps those
    whose sample images came out otherwise there to what `--check` said.
    """

    name: str
    machine: dict
    threads: int
    table: pd.DataFrame
    missing: list[str]
    changed: list[str]
    disagreeing: dict[str, str]


def read(name: str, paths: list[Path], table: pd.DataFrame, results: Path, here: str) -> Device:
    """The device called `name`, from its files.

    Parameters
    ----------
    table : of all candidates; see `candidates.table`
    here : instruction set that their accuracy was measured on

    Raises
    ------
    UserError
        A file is not of `--bench`, or of no candidate, or of a candidate's earlier model, or of one
        that another file is of; or the files are not from one machine and number of threads.
    """
    where = f"bench.device_results.{name}"
    found, first = {}, None
    for path in paths:
        try:
            each = measurement(path)
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(f"{where}: {path} is not what predict.py --bench writes") from error
        first = first or each
        index, words = (
            f"{each['backbone']}:{each['variant']}",
            f"{each['backbone']} {each['variant']}",
        )
        if index not in table.index:
            raise UserError(
                f"{where}: {path} is of {words}, which is not a candidate of this sweep: take it out"
            )
        metadata = files.read_json(results / each["backbone"] / f"{each['variant']}.json")
        if each["sha256"] != metadata["sha256"]:
            raise UserError(
                f"{where}: {path} was measured with another model than {words} is now: "
                "bundle it and bench it there anew"
            )
        if index in found:
            raise UserError(
                f"{where}: {found[index]['path']} and {path} are both of {words}: keep one"
            )
        if each["conditions"] != first["conditions"]:
            raise UserError(
                f"{where}: {first['path']} and {path} differ in processor, ONNX Runtime or threads "
                f"({first['conditions']}, {each['conditions']}): give each machine a name of its own"
            )
        found[index] = {**each, "recipe": metadata["recipe"]}
    differs = processors.saturates(first["machine"]["instruction_set"]) != processors.saturates(
        here
    )
    return Device(
        name,
        first["machine"],
        first["threads"],
        with_times(table, {index: each["times"] for index, each in found.items()}),
        [index for index in table.index if index not in found],
        [
            index
            for index, each in found.items()
            if differs and each["recipe"] and portability.may_saturate(each["recipe"])
        ],
        {index: each["said"] for index, each in found.items() if not each["agrees"]},
    )


def measurement(path: Path) -> dict:
    """What a file of `--bench` says, its times as in a bench of this project's own."""
    contents = json.loads(path.read_text(encoding="utf-8"))
    machine, threads = contents["machine"], contents["settings"]["threads"]
    instruction_set = processors.of_flags(machine["flags"].split(), machine["architecture"])
    return {
        "path": path,
        **contents["candidate"],
        **contents["check"],
        "threads": threads,
        "machine": {**machine, "instruction_set": instruction_set},
        "conditions": f"{machine['cpu']}, {machine['onnxruntime']}, {threads} thread(s)",
        "times": summarise(contents),
    }


def summarise(contents: dict) -> dict:
    """The figures of a bench that a device's file gives; a file has one batch and one round a process."""
    samples = np.asarray(contents["samples_ms"], float)[:, None]
    figures = latency.summarise(samples, samples, 1)
    return {
        **{key: value for key, value in figures.items() if not key.startswith("speedup")},
        **{
            f"end_to_end_p{q}_ms": float(
                np.percentile(np.concatenate(contents["end_to_end_samples_ms"]), q)
            )
            for q in (50, 90)
        },
        **{key: float(np.median(contents[key])) for key in ("load_ms", "first_query_ms")},
    }


def with_times(table: pd.DataFrame, found: dict[str, dict]) -> pd.DataFrame:
    """The candidates that were timed on a device, with its times in place of those measured here, and its front.

    Each was timed alone, so a ratio of two has no interval, and memory was not measured.
    """
    rows = table.loc[[index for index in table.index if index in found]].copy()
    timed = pd.DataFrame.from_dict(found, orient="index")
    rows[timed.columns] = timed.loc[rows.index]
    full = rows[rows["variant"] == "fp32"].set_index("backbone")["p50_ms"]
    rows["speedup"] = rows["backbone"].map(full) / rows["p50_ms"]
    rows[["speedup_low", "speedup_high", "peak_memory_mb", "model_memory_mb"]] = np.nan
    for column in [
        f"{split}_{what}"
        for split in candidates.SPLITS
        for what in ("beaten_by", "misses_more_than")
    ]:
        rows[column] = [[index for index in each if index in found] for each in rows[column]]
    candidates.mark_front(rows)
    return rows
