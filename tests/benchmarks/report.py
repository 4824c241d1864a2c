"""Figures for people: printed as they come, and written down for the documentation with machine and versions."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from growth import Growth
from rounds import OURS, Goal, Result

PACKAGES = (
    "trio", "trio-websocket", "msgspec", "httpx", "azure-messaging-webpubsubclient", "azure-messaging-webpubsubservice",
    "aiohttp", "picows", "hypercorn",
)  # fmt: skip
Line = tuple[Growth, list[tuple[int, float]]]


def printed(results: Iterable[Result]) -> list[Result]:
    """Print results as they come, and give them all."""
    taken: list[Result] = []
    for result in results:
        unit = result.scenario.unit
        limit = result.scenario.limit
        goal = "" if limit is None else f"   ({wanted(limit, result)})"
        print(f"{result.scenario.name}: {shown(result.figures[OURS])}{unit}{goal}")
        for peer, ratio in result.ratios.items():
            print(f"    {peer:22} {result.figures[peer]:>12,.0f}{unit:3}   x {ratio:<8.2f} {goal_of(result, peer)}")
        sys.stdout.flush()
        taken.append(result)
    return taken


def goal_of(result: Result, peer: str) -> str:
    """Say what the ratio should be, if anything."""
    goal = result.scenario.goals.get(peer)
    return "" if goal is None else f"({wanted(goal, result)})"


def wanted(goal: Goal, result: Result) -> str:
    """Say what is to be reached."""
    return f"at {'most' if result.scenario.less_is_better else 'least'} {goal[0]:,.9g}, aim {goal[1]:,.9g}"


def shown(figure: float) -> str:
    """Give a figure with as many digits as say something."""
    return f"{figure:,.0f}" if figure >= 10 else f"{figure:.2f}"


def printed_line(line: Growth, points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Print how something grows, and give it."""
    print(f"{line.name}, {line.up}: " + ", ".join(f"{step:,}: {cost:,.2f}" for step, cost in points), flush=True)
    return points


def write(
    directory: Path, parts: Mapping[str, Sequence[Result]], lines: Sequence[Line], rounds: int, options: str
) -> None:
    """Write ``speed_table.rst``, ``speed.svg`` and ``speed_growth.svg``."""
    (directory / "speed_table.rst").write_text("\n".join(table(parts, rounds, options)))
    plot_ratios(directory / "speed.svg", parts)
    if lines:
        plot_growth(directory / "speed_growth.svg", lines)


def table(parts: Mapping[str, Sequence[Result]], rounds: int, options: str) -> Iterable[str]:
    """Give the lines of the table."""
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := version_of(name)))
    yield (
        f"Measured on {dt.datetime.now(dt.UTC):%d %B %Y} with ``nox -s bench -- {options}``: "
        f"{os.cpu_count()} processors ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {versions}. "
        f"Ratios are medians over {rounds} rounds of our figure by the peer's figure of the same round."
    )
    for title, results in parts.items():
        if not results:
            continue
        yield from ("", title, "~" * len(title), "", ".. list-table::", "   :header-rows: 1", "")
        yield from row("what", "ours", "peer", "peer's", "ratio", "goal")
        for result in results:
            unit, ours = result.scenario.unit, result.figures[OURS]
            limit = result.scenario.limit
            goal = "" if limit is None else wanted(limit, result)
            if not result.ratios:
                yield from row(result.scenario.name, f"{shown(ours)}{unit}", "", "", "", goal)
            for peer, ratio in result.ratios.items():
                figure = f"{result.figures[peer]:,.0f}{unit}"
                goal = goal_of(result, peer).strip("()") or goal
                yield from row(
                    result.scenario.name, f"{ours:,.0f}{unit}", peer.replace("_", " "), figure, f"{ratio:.2f}", goal
                )
                goal = ""
    yield ""


def row(first: str, *rest: str) -> Iterable[str]:
    """Give the lines of a row."""
    yield f"   * - {first}"
    yield from (f"     - {cell}".rstrip() for cell in rest)


def version_of(package: str) -> str | None:
    """Give the version of a package, if it is there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def plot_ratios(path: Path, parts: Mapping[str, Sequence[Result]]) -> None:
    """Draw the ratios as bars, with the goals as lines across them."""
    from matplotlib.figure import Figure

    bars = [
        (f"{result.scenario.name} / {peer.replace('_', ' ')}", ratio, result.scenario.goals.get(peer))
        for results in parts.values()
        for result in results
        if not result.scenario.less_is_better
        for peer, ratio in result.ratios.items()
    ][::-1]
    figure = Figure(figsize=(9, 1 + 0.24 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    missed = [goal is not None and ratio < goal[0] for _, ratio, goal in bars]
    colours = ["#f2a65a" if miss else "#4c78a8" for miss in missed]
    drawn = axes.barh([name for name, _, _ in bars], [ratio for _, ratio, _ in bars], color=colours)
    axes.bar_label(drawn, [f"{ratio:.3g}" for _, ratio, _ in bars], padding=3, fontsize=7)
    for height, (_, _, goal) in enumerate(bars):
        if goal is not None:
            axes.plot([goal[0]] * 2, [height - 0.4, height + 0.4], color="#e45756")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.1, y=0.01)
    axes.axvline(1, color="black", linewidth=0.5)
    axes.set_xlabel(
        "times as fast as the peer\n(marks: what is to be reached at least; orange bars fall short of theirs)",
        fontsize=8,
    )
    axes.tick_params(labelsize=7)
    figure.savefig(path, metadata={"Date": None})


def plot_growth(path: Path, lines: Sequence[Line]) -> None:
    """Draw how costs grow, on logarithmic scales."""
    from matplotlib.figure import Figure

    rows = (len(lines) + 1) // 2
    figure = Figure(figsize=(9, 3 * rows), layout="constrained")
    for place, (line, points) in enumerate(lines, 1):
        axes = figure.add_subplot(rows, 2, place)
        axes.plot(*zip(*points, strict=True), marker="o", color="#4c78a8")
        axes.set_xscale("log")
        axes.set_yscale("log")
        costs = [cost for _, cost in points]
        axes.set_ylim(min(costs) / 3, max(costs) * 3)
        for axis in axes.xaxis, axes.yaxis:
            axis.set_major_formatter("{x:,.9g}")
            axis.set_minor_formatter("")
        for step, cost in points:
            shown = f"{cost:.3g}" if cost < 1_000 else f"{cost:,.0f}"
            axes.annotate(shown, (step, cost), (0, 6), textcoords="offset points", ha="center", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.set_title(line.name, fontsize=9)
        axes.set_xlabel(line.across, fontsize=8)
        axes.set_ylabel(line.up, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
