"""Times from the machines that a model is for: files that `predict.py --bench` wrote there."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from beansweep import candidates, diagnosis, files, instruction_sets, latency, pareto, prose
from beansweep.stage import UserError


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
        index, words = f"{each['backbone']}:{each['variant']}", f"{each['backbone']} {each['variant']}"
        if index not in table.index:
            raise UserError(f"{where}: {path} is of {words}, which is not a candidate of this sweep: take it out")
        card = files.read_json(results / each["backbone"] / f"{each['variant']}.json")
        if each["sha256"] != card["sha256"]:
            raise UserError(f"{where}: {path} was measured with another model than {words} is now: "
                            "bundle it and bench it there anew")
        if index in found:
            raise UserError(f"{where}: {found[index]['path']} and {path} are both of {words}: keep one")
        if each["conditions"] != first["conditions"]:
            raise UserError(f"{where}: {first['path']} and {path} differ in processor, ONNX Runtime or threads "
                            f"({first['conditions']}, {each['conditions']}): give each machine a name of its own")
        found[index] = {**each, "recipe": card["recipe"]}
    differs = instruction_sets.saturates(first["machine"]["instruction_set"]) != instruction_sets.saturates(here)
    return Device(
        name, first["machine"], first["threads"],
        with_times(table, {index: each["times"] for index, each in found.items()}),
        [index for index in table.index if index not in found],
        [index for index, each in found.items()
         if differs and each["recipe"] and diagnosis.may_saturate(each["recipe"])],
        {index: each["said"] for index, each in found.items() if not each["agrees"]})


def measurement(path: Path) -> dict:
    """What a file of `--bench` says, its times as in a bench of this project's own."""
    contents = json.loads(path.read_text(encoding="utf-8"))
    machine, threads = contents["machine"], contents["settings"]["threads"]
    instruction_set = instruction_sets.of_flags(machine["flags"].split(), machine["architecture"])
    return {"path": path, **contents["candidate"], **contents["check"], "threads": threads,
            "machine": {**machine, "instruction_set": instruction_set},
            "conditions": f"{machine['cpu']}, {machine['onnxruntime']}, {threads} thread(s)",
            "times": summarise(contents)}


def summarise(contents: dict) -> dict:
    """The figures of a bench that a device's file gives; a file has one batch and one round a process."""
    samples = np.asarray(contents["samples_ms"], float)[:, None]
    figures = latency.summarise(samples, samples, 1)
    return {
        **{key: value for key, value in figures.items() if not key.startswith("speedup")},
        **{f"end_to_end_p{q}_ms": float(np.percentile(np.concatenate(contents["end_to_end_samples_ms"]), q))
           for q in (50, 90)},
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
    for column in [f"{split}_{what}" for split in candidates.SPLITS for what in ("beaten_by", "misses_more_than")]:
        rows[column] = [[index for index in each if index in found] for each in rows[column]]
    candidates.mark_front(rows)
    return rows


def describe(found: Device, here: dict, table: pd.DataFrame) -> str:
    """Where a device's times are from, which candidates have none, and where its accuracy may be another.

    `here` is the machine that accuracy was measured on, and `table` of all candidates.
    """
    machine = found.machine
    lines = [f"Times are from **{machine['cpu']}** ({machine['instruction_set']}, {machine['cores']} cores, ONNX "
             f"Runtime {machine['onnxruntime']}, governor {machine['governor']}), {found.threads} thread(s), batch 1: "
             f"each candidate alone, in fresh processes. Accuracy is from {here['cpu']} ({here['instruction_set']})."]
    if found.missing:
        lines.append(f"Not measured there, and so left out: {prose.names(table, found.missing)}.")
    if found.changed:
        lines.append(f"**Accuracy there will be another**: 8-bit weights saturate on one of {here['instruction_set']} "
                     f"and {machine['instruction_set']} and not on the other, so evaluate anew for it "
                     f"(`quantization.instruction_set`): {prose.names(table, found.changed)}.")
    elif machine["instruction_set"] != here["instruction_set"]:
        lines.append("The instruction sets differ, so INT8 may round otherwise there; nothing of it saturates on one "
                     "and not on the other.")
    lines += [f"**{prose.name(table.loc[index])} computes something else there**: {said}."
              for index, said in found.disagreeing.items()]
    if not found.disagreeing:
        lines.append("The sample images of each were replayed there before, and came out as here.")
    return "\n".join(f"- {line}" for line in lines)


def timing_table(found: Device, table: pd.DataFrame, deploy: dict) -> str:
    """Each candidate timed on a device, its times there beside those here, in `table`; the fastest first."""
    met = pareto.satisfied(found.table, deploy).all(axis=1)
    rows = [[f"`{row['backbone']}`", f"`{row['variant']}`", "**front**" if row["front"] else "",
             "yes" if met[index] else "no", f"{row['test_macro_f1']:.3f}", f"{table.loc[index, 'p50_ms']:.2f}",
             f"{row['p50_ms']:.2f}", prose.interval(row, "p50@_ms", "{:.2f}"), f"{row['p99_ms']:.2f}",
             f"{row['end_to_end_p50_ms']:.2f}", f"{row['load_ms']:.0f}"]
            for index, row in found.table.sort_values("p50_ms").iterrows()]
    return prose.markdown_table(
        ["backbone", "variant", "front", "may be deployed", "test mF1", "p50 ms here", f"p50 ms, {found.name}",
         "interval", "p99 ms", "bytes to label, p50 ms", "load ms"], rows, 3)
