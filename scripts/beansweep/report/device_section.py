"""The section of the report on another device."""

import pandas as pd

from beansweep.analysis import limits
from beansweep.benchmark.device_results import Device
from beansweep.report import wording


def describe(found: Device, here: dict, table: pd.DataFrame) -> str:
    """Where a device's times are from, which candidates have none, and where its accuracy may be another.

    `here` is the machine that accuracy was measured on, and `table` of all candidates.
    """
    machine = found.machine
    lines = [
        f"Times are from **{machine['cpu']}** ({machine['instruction_set']}, {machine['cores']} cores, ONNX "
        f"Runtime {machine['onnxruntime']}, governor {machine['governor']}), {found.threads} thread(s), batch 1: "
        f"each candidate alone, in fresh processes. Accuracy is from {here['cpu']} ({here['instruction_set']})."
    ]
    if found.missing:
        lines.append(f"Not measured there, and so left out: {wording.names(table, found.missing)}.")
    if found.changed:
        lines.append(
            f"**Accuracy there will be another**: 8-bit weights saturate on one of {here['instruction_set']} "
            f"and {machine['instruction_set']} and not on the other, so evaluate anew for it "
            f"(`quantization.instruction_set`): {wording.names(table, found.changed)}."
        )
    elif machine["instruction_set"] != here["instruction_set"]:
        lines.append(
            "The instruction sets differ, so INT8 may round otherwise there; nothing of it saturates on one "
            "and not on the other."
        )
    lines += [
        f"**{wording.name(table.loc[index])} computes something else there**: {said}."
        for index, said in found.disagreeing.items()
    ]
    if not found.disagreeing:
        lines.append("The sample images of each were replayed there before, and came out as here.")
    return "\n".join(f"- {line}" for line in lines)


def timing_table(found: Device, table: pd.DataFrame, deploy: dict) -> str:
    """Each candidate timed on a device, its times there beside those here, in `table`; the fastest first."""
    met = limits.satisfied(found.table, deploy).all(axis=1)
    rows = [
        [
            f"`{row['backbone']}`",
            f"`{row['variant']}`",
            "**front**" if row["front"] else "",
            "yes" if met[index] else "no",
            f"{row['test_macro_f1']:.3f}",
            f"{table.loc[index, 'p50_ms']:.2f}",
            f"{row['p50_ms']:.2f}",
            wording.interval(row, "p50@_ms", "{:.2f}"),
            f"{row['p99_ms']:.2f}",
            f"{row['end_to_end_p50_ms']:.2f}",
            f"{row['load_ms']:.0f}",
        ]
        for index, row in found.table.sort_values("p50_ms").iterrows()
    ]
    return wording.markdown_table(
        [
            "backbone",
            "variant",
            "front",
            "may be deployed",
            "test mF1",
            "p50 ms here",
            f"p50 ms, {found.name}",
            "interval",
            "p99 ms",
            "end-to-end latency, p50 ms",
            "load ms",
        ],
        rows,
        3,
    )
