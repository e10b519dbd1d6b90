"""Plots of measurements over a size, and of the parts of a time, as PNG and SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from deploy.benchmarks.results import TIMELINE_SERIES, Measurement  # noqa: E402

# The axis label of each benchmark with a plot.
AXIS_LABELS: Mapping[str, str] = {
    "batch-size": "commands in a batch",
    "class-size": "students in a class",
    "log-size": "events in the log",
}


TIMELINE = "latency"
PLOTTED = {*AXIS_LABELS, TIMELINE}


def plot(benchmark: str, measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Plot the measurements that have a position on the benchmark's plot; return the files written."""
    plotted = [measurement for measurement in measurements if measurement.plot_position is not None]
    if benchmark not in PLOTTED or not plotted:
        return []
    figure = _plot_timeline(plotted) if benchmark == TIMELINE else _plot_sizes(benchmark, plotted)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{benchmark}.{kind}" for kind in ("png", "svg")]
    for file in files:
        figure.savefig(file, dpi=150)
    pyplot.close(figure)
    return files


def _plot_timeline(plotted: Sequence[Measurement]) -> Figure:
    """Plot the parts of a time one after another, and the floor of their sum as a line."""
    parts = [measurement for measurement in plotted if measurement.series == TIMELINE_SERIES]
    figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
    start = 0.0
    for number, part in enumerate(parts):
        axes.barh(number, part.median, left=start, height=0.7)
        label_position = (start + max(part.median, 0), number)
        axes.annotate(f"{part.median:.1f}", label_position, (4, 0), textcoords="offset points", va="center")
        start += part.median
    for floor in (measurement for measurement in plotted if measurement.series != TIMELINE_SERIES):
        axes.axvline(floor.median, color="black", linestyle="--", label=f"{floor.case}: {floor.median:.1f}")
        axes.legend(loc="upper right")
    axes.set_yticks(range(len(parts)), [part.case for part in parts])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("ms from when a command is due: medians of the parts")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _plot_sizes(benchmark: str, plotted: Sequence[Measurement]) -> Figure:
    """Plot medians and their spread over sizes."""
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
    return figure
