"""The section of the report on another machine: times from there, and decisions in an emulator."""

import pandas as pd

from beansweep.analysis.emulated import Emulated
from beansweep.benchmark.device_results import Device
from beansweep.common.words import counted
from beansweep.report import decision, markdown, tables
from beansweep.report.report_data import ReportData, choice_on


def section(name: str, timed: Device | None, sweep: ReportData) -> str:
    """What is known of a device: the pick, the front and the latencies, and what it decides.

    Parameters
    ----------
    name : of the device
    timed : its times; without them no pick is claimed for it
    """
    parts, emulated = [f"## On {name}"], sweep.emulated.get(name)
    if timed:
        choice = choice_on(timed, sweep)
        parts += [
            decision.text(choice),
            f"![test macro-F1 against p50 latency on {name}](figures/front-{name}.png)",
            describe(timed, sweep.machine, sweep.table, emulated),
            timing_table(name, choice.table, sweep.table),
        ]
    if emulated:
        parts += [
            describe_emulation(emulated, sweep, bool(timed)),
            decided_otherwise(emulated, sweep.table),
            emulation_table(emulated),
        ]
    return markdown.paragraphs(*parts)


def describe(device: Device, here: dict, table: pd.DataFrame, emulated: Emulated | None) -> str:
    """Where a device's latencies are from, and where its outputs or its accuracy differ.

    Parameters
    ----------
    device : with the candidates that were timed there
    here : the machine that accuracy was measured on
    table : of all candidates
    emulated : the same device in the emulator
    """
    emulated = emulated if emulated and emulated.complete else None
    machine, known = device.machine, list(emulated.table.index) if emulated else []
    from_here = [label for label in device.table.index if label not in known]
    lines = [
        f"Times are from **{machine['cpu']}** ({machine['instruction_set']}, {machine['cores']} "
        f"cores, ONNX Runtime {machine['onnxruntime']}, governor {machine['governor']}), "
        f"{counted(device.threads, 'threads')}, batch 1; each candidate ran alone, in "
        "fresh processes. "
        f"Accuracy is from {_accuracy_source(here, table, emulated, from_here)}."
    ]
    if device.missing:
        names = markdown.names(table, device.missing)
        lines.append(f"These were not measured there and are left out: {names}.")
    changed = [label for label in device.changed if label in from_here]
    if changed:
        lines.append(
            f"**Accuracy is different there**: 8-bit weights saturate on one of "
            f"{here['instruction_set']} and {machine['instruction_set']}, not on both. Evaluate "
            "these candidates again for that machine (`quantization.instruction_set`): "
            f"{markdown.names(table, changed)}."
        )
    elif from_here and machine["instruction_set"] != here["instruction_set"]:
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


def _accuracy_source(
    here: dict, table: pd.DataFrame, emulated: Emulated | None, from_here: list
) -> str:
    """The machines that a device's accuracy is from.

    Parameters
    ----------
    from_here : candidates that were not emulated
    """
    machine = f"{here['cpu']} ({here['instruction_set']})"
    if not emulated:
        return machine
    source = f"the emulated `{emulated.processor}`"
    if from_here:
        source += f", and of {markdown.names(table, from_here)} from {machine}"
    return source


def timing_table(name: str, there: pd.DataFrame, here: pd.DataFrame) -> str:
    """Each candidate's latencies on a device and here, the fastest first.

    Parameters
    ----------
    name : of the device
    there : table of the candidates that were timed there, with those times
    here : table of all candidates, with the latencies here
    """
    rejects = tables.has_defects(here)
    header = ["backbone", "variant", "front", "may be picked", "test mF1"]
    header += ["good rejected on test"] if rejects else []
    header += [
        "p50 ms here",
        f"p50 ms, {name}",
        "interval",
        "p99 ms",
        "end-to-end latency, p50 ms",
    ]
    header += ["load ms"]
    rows = []
    for label, row in there.sort_values("p50_ms").iterrows():
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


def describe_emulation(emulated: Emulated, sweep: ReportData, is_timed: bool) -> str:
    """What was emulated, on how many images, and what does not follow from it."""
    count = int(emulated.differences["images"].max())
    which = f"all {count}" if emulated.complete else f"{count}"
    lines = [
        f"Decisions are those of `{emulated.processor}`, which QEMU emulates, on {which} "
        "validation and test images, at the thresholds of here."
    ]
    if is_timed and not emulated.complete:
        lines.append(
            "The pick goes by the accuracy of here: it takes that of the emulator where all images "
            f"are emulated (`devices.{emulated.name}.images: null`)."
        )
    if not is_timed:
        lines.append(
            "Emulated times say nothing, so there is no pick for this device: write its times "
            "there with `predict.py --bench`, and name them in `bench.device_results`."
        )
    return markdown.bullets(lines)


def decided_otherwise(emulated: Emulated, table: pd.DataFrame) -> str:
    """Which candidates decide otherwise on a device, in one sentence."""
    differences = emulated.differences
    clauses = []
    for label, row in differences[differences["otherwise"] > 0].iterrows():
        cause = f" ({row['cause']})" if row["cause"] else ""
        clauses.append(f"{markdown.names(table, [str(label)])} on {row['otherwise']}{cause}")
    count = differences["images"].max()
    if not clauses:
        return f"**{emulated.name} decides as here on all {count} images**, with every candidate."
    others = "; the others decide as here" if len(clauses) < len(differences) else ""
    return (
        f"**{emulated.name} decides otherwise on some of {count} images**: "
        f"{', '.join(clauses)}{others}."
    )


def emulation_table(emulated: Emulated) -> str:
    """Each emulated candidate's accuracy and decisions there and here, on the same images."""
    here = emulated.here
    header = ["backbone", "variant", "test mF1", "here"]
    rejects = tables.has_defects(here)
    if rejects:
        header += ["good rejected on test", "here", "defects missed on test", "here"]
    header += ["decided otherwise", "share", "largest difference of a probability"]
    rows = []
    for label, row in emulated.table.iterrows():
        own, difference = here.loc[label], emulated.differences.loc[label]
        cells = [f"`{row['backbone']}`", markdown.variant(row)]
        cells += [f"{machine['test_macro_f1']:.3f}" for machine in (row, own)]
        if rejects:
            for figure in ("rejected_good", "missed_defect"):
                cells += [_share(machine, figure) for machine in (row, own)]
        cells += [
            f"{difference['otherwise']} of {difference['images']}",
            markdown.interval(difference, "otherwise", "{:.1%}"),
            f"{difference['largest_difference']:.2g}",
        ]
        rows.append(cells)
    return markdown.table(header, rows, 2)


def _share(row: pd.Series, figure: str) -> str:
    """How many test images, and the interval of their share."""
    share = markdown.interval(row, f"test_{figure}_rate", "{:.1%}")
    return f"{row[f'test_{figure}_count']:.0f} ({share})"
