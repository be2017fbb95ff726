"""Figures of timed queries, and their intervals.

Queries of one process are not independent: they share its memory layout and its neighbours on the
machine. So intervals are over processes, and they are Student's, over one logarithm a process. One
process alone gives no interval.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from beansweep.analysis import intervals
from beansweep.common import files

# The logarithm of no time in ms, nor of a ratio, is farther from 0. Few processes and a high
# confidence reach farther, up to where no number is.
_FARTHEST = 30.0


def read_all(results: Path, backbones: list[str], confidence: float) -> dict[str, dict]:
    """What `read` gives of each backbone's latency.json.

    Parameters
    ----------
    results : folder of the sweep
    """
    benches = {}
    for backbone in backbones:
        benches[backbone] = read(results / backbone / "latency.json", confidence)
    return benches


def read(path: Path, confidence: float) -> dict:
    """The contents of a latency.json, with the intervals that follow from its samples.

    The file itself has no intervals: to change their confidence times nothing again.

    Parameters
    ----------
    path : latency.json of a backbone
    confidence : of the intervals

    Returns
    -------
    The contents; each variant and each control has `p50_low_ms` and `p50_high_ms` too, and
    `speedup`, FP32's p50 divided by its own, with `speedup_low` and `speedup_high`. A variant that
    integer kernels compute has `speedup_limit`: FP32's p50 divided by the time of their products.
    """
    bench = files.read_json(path)
    fp32 = bench["variants"]["fp32"]
    reference = fp32["samples_ms"]
    for models in (bench["variants"], bench["controls"]):
        for model in models.values():
            samples = model["samples_ms"]
            speedup = ratio(reference, samples, confidence)
            model |= p50_interval(samples, confidence)
            model["speedup"] = speedup["ratio"]
            model["speedup_low"], model["speedup_high"] = speedup["low"], speedup["high"]
    for model in bench["variants"].values():
        products = model["integer_products_ms"]
        model["speedup_limit"] = fp32["p50_ms"] / products if products else None
    return bench


def figures(model: dict) -> dict:
    """What a file of times says of a model, without the samples."""
    return {key: value for key, value in model.items() if not key.endswith("samples_ms")}


def summarise(samples: np.ndarray, batch_size: int) -> dict:
    """Figures of one model's queries, with no query left out.

    Parameters
    ----------
    samples : float [processes, rounds, queries], ms of a model's queries
    batch_size : images a query

    Returns
    -------
    `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms` and `mean_ms`; `queries`, their number;
    `images_per_second`.
    """
    return {
        **percentiles(samples, (50, 90, 95, 99)),
        "mean_ms": float(samples.mean()),
        "queries": samples.size,
        "images_per_second": float(1e3 * batch_size / samples.mean()),
    }


def percentiles(samples: np.ndarray, percents: Iterable[int], prefix: str = "") -> dict[str, float]:
    """Percentiles of all samples, in ms: `{prefix}p50_ms` and so on."""
    return {
        f"{prefix}p{percent}_ms": float(np.percentile(samples, percent)) for percent in percents
    }


def p50_interval(samples: np.ndarray, confidence: float) -> dict[str, float | None]:
    """The interval of a model's p50 in ms, `p50_low_ms` and `p50_high_ms`.

    Parameters
    ----------
    samples : float [processes, rounds, queries], in ms
    """
    _, low, high = intervals.mean_interval(_log_medians(samples), confidence)
    return {"p50_low_ms": _exponential(low), "p50_high_ms": _exponential(high)}


def carried_p50_interval(
    samples: np.ndarray, links: list[tuple[dict, dict]], confidence: float
) -> dict[str, float | None]:
    """The interval of a model's p50 in a later benchmark that it was no part of, in ms.

    Links, which are other models, were in both. The model's ratio to them is from the first
    benchmark, process by process, and their p50 is from the later one. These two are independent,
    so half of the interval is the root of the sum of their squares, in logarithms.

    Parameters
    ----------
    samples : float [processes, rounds, queries], in ms, in the first benchmark
    links : figures of each link in the first benchmark, with its `samples_ms`, and in the later one
    confidence : of the interval, and of those of the later benchmark

    Returns
    -------
    `p50_low_ms` and `p50_high_ms`
    """
    of_links = [_log_medians(before["samples_ms"]) for before, _ in links]
    ratios = _log_medians(samples) - np.mean(of_links, axis=0)
    ratio, _, ratio_high = intervals.mean_interval(ratios, confidence)
    ends = [(after["p50_low_ms"], after["p50_high_ms"]) for _, after in links]
    # The links were timed in the same processes, so their noise is one and the same.
    low, high = np.log(np.array(ends, float)).mean(axis=0)
    middle, reach = ratio + (low + high) / 2, math.hypot(ratio_high - ratio, (high - low) / 2)
    return {
        "p50_low_ms": _exponential(middle - reach),
        "p50_high_ms": _exponential(middle + reach),
    }


def ratio(samples: np.ndarray, others: np.ndarray, confidence: float) -> dict[str, float | None]:
    """The p50 of one model divided by that of another, timed in the same processes.

    A machine changes its speed within seconds, and a round visits both models within less. So they
    are compared round by round, and the median of its rounds speaks for a process. What slows down
    a round or a whole process cancels out.

    Parameters
    ----------
    samples, others : float [processes, rounds, queries], in ms; as many rounds of both

    Returns
    -------
    `ratio`, and its interval from `low` to `high`.
    """
    differences = _log_medians_of_rounds(samples) - _log_medians_of_rounds(others)
    mean, low, high = intervals.mean_interval(np.median(differences, axis=1), confidence)
    return {"ratio": math.exp(mean), "low": _exponential(low), "high": _exponential(high)}


def _log_medians(samples: np.ndarray) -> np.ndarray:
    """Logarithms of the processes' medians: float [processes]."""
    return np.log(np.median(samples, axis=(1, 2)))


def _log_medians_of_rounds(samples: np.ndarray) -> np.ndarray:
    """Logarithms of the rounds' medians: float [processes, rounds]."""
    return np.log(np.median(samples, axis=2))


def _exponential(logarithm: float) -> float | None:
    """The number with this logarithm; None for an infinite one, which JSON cannot hold."""
    if not math.isfinite(logarithm):
        return None
    return math.exp(max(-_FARTHEST, min(_FARTHEST, logarithm)))
