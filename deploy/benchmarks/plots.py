"""Plots of measurements over a size, as PNG and SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from deploy.benchmarks.results import Measurement  # noqa: E402

# The axis label of each benchmark with a plot.
AXIS_LABELS: Mapping[str, str] = {
    "batch-size": "commands in a batch",
    "class-size": "students in a class",
    "log-size": "events in the log",
}


def plot(benchmark: str, measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Plot medians and their spread over sizes; return the files written."""
    plotted = [measurement for measurement in measurements if measurement.plot_position is not None]
    if benchmark not in AXIS_LABELS or not plotted:
        return []
    series: dict[str, list[Measurement]] = {}
    for measurement in plotted:
        series.setdefault(measurement.series, []).append(measurement)
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, points in series.items():
        positions, medians = [point.plot_position or 0 for point in points], [point.median for point in points]
        below = [point.median - min(point.values) for point in points]
        above = [max(point.values) - point.median for point in points]
        axes.errorbar(positions, medians, yerr=(below, above), marker="o", capsize=3, label=name)
    axes.set_xscale("log")
    axes.set_xticks([point.plot_position or 0 for point in next(iter(series.values()))])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(AXIS_LABELS[benchmark])
    axes.set_ylabel("commands per second")
    axes.set_title(f"Throughput: median and spread over {len(plotted[0].values)} rounds")
    axes.grid(alpha=0.3)
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{benchmark}.{kind}" for kind in ("png", "svg")]
    for file in files:
        figure.savefig(file, dpi=150)
    pyplot.close(figure)
    return files
