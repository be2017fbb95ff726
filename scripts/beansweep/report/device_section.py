"""The section of the report on another machine that candidates were timed on."""

import pandas as pd

from beansweep.benchmark.device_results import Device
from beansweep.report import decision, markdown, tables
from beansweep.report.report_data import ReportData, choice_on


def section(device: Device, sweep: ReportData) -> str:
    """The pick, the front and the latencies on a device."""
    return f"""\
## On {device.name}

{decision.text(choice_on(device, sweep.choice))}

![test macro-F1 against p50 latency on {device.name}](figures/front-{device.name}.png)

{describe(device, sweep.machine, sweep.table)}

{timing_table(device, sweep.table)}"""


def describe(device: Device, here: dict, table: pd.DataFrame) -> str:
    """Where a device's latencies are from, and where its outputs or its accuracy differ.

    Parameters
    ----------
    device : with the candidates that were timed there
    here : the machine that accuracy was measured on
    table : of all candidates
    """
    machine = device.machine
    lines = [
        f"Times are from **{machine['cpu']}** ({machine['instruction_set']}, {machine['cores']} "
        f"cores, ONNX Runtime {machine['onnxruntime']}, governor {machine['governor']}), "
        f"{device.threads} thread(s), batch 1; each candidate ran alone, in fresh processes. "
        f"Accuracy is from {here['cpu']} ({here['instruction_set']})."
    ]
    if device.missing:
        names = markdown.names(table, device.missing)
        lines.append(f"These were not measured there and are left out: {names}.")
    if device.changed:
        lines.append(
            f"**Accuracy is different there**: 8-bit weights saturate on one of "
            f"{here['instruction_set']} and {machine['instruction_set']}, not on both. Evaluate "
            "these candidates again for that machine (`quantization.instruction_set`): "
            f"{markdown.names(table, device.changed)}."
        )
    elif machine["instruction_set"] != here["instruction_set"]:
        lines.append(
            "The instruction sets differ, so INT8 may round differently there, but no candidate "
            "saturates on only one of them."
        )
    for label, difference in device.disagreeing.items():
        name = markdown.names(table, [label])
        lines.append(f"**{name} computes something else there**: {difference}.")
    if not device.disagreeing:
        lines.append(
            "Before the benchmark, the sample images of each candidate were predicted there and "
            "came out as here."
        )
    return markdown.bullets(lines)


def timing_table(device: Device, here: pd.DataFrame) -> str:
    """Each candidate's latencies on a device and here, the fastest first.

    Parameters
    ----------
    device : with the candidates that were timed there
    here : table of all candidates, with the latencies here
    """
    rejects = tables.has_defects(here)
    header = ["backbone", "variant", "front", "may be picked", "test mF1"]
    header += ["good rejected on test"] if rejects else []
    header += [
        "p50 ms here",
        f"p50 ms, {device.name}",
        "interval",
        "p99 ms",
        "end-to-end latency, p50 ms",
    ]
    header += ["load ms"]
    rows = []
    for label, row in device.table.sort_values("p50_ms").iterrows():
        cells = [
            f"`{row['backbone']}`",
            markdown.variant(row),
            "**front**" if row["front"] else "",
            f"no: {row['obstacles']}" if row["obstacles"] else "yes",
            f"{row['test_macro_f1']:.3f}",
        ]
        if rejects:
            cells.append(markdown.with_interval(row, "test_rejected_good_rate", "{:.1%}"))
        cells += [
            f"{here.loc[label, 'p50_ms']:.2f}",
            f"{row['p50_ms']:.2f}",
            markdown.interval(row, "p50@_ms", "{:.2f}"),
            f"{row['p99_ms']:.2f}",
            f"{row['end_to_end_p50_ms']:.2f}",
            f"{row['load_ms']:.0f}",
        ]
        rows.append(cells)
    return markdown.table(header, rows, 4)
