"""A plot of what a request costs each proxy, as SVG. Pure: from figures to text.

It is read on light and on dark pages: only greys that show on both, and one colour for the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .contenders import GATEWAY
from .results import FOLDER, Figure, Result, number

FILE = FOLDER / "cpu.svg"
BENCHMARKS = ("cpu", "cpu-others")
WORKS = ("plain route", "sticky route")
_WIDTH, _LEFT, _RIGHT = 720, 90, 120
_BAR, _STEP, _HEAD, _FOOT = 16, 24, 34, 26
_TEXT, _OWN, _OTHER = "#777777", "#2f81c7", "#b9b9b9"


@dataclass(frozen=True, slots=True)
class Bar:
    """One proxy at one kind of work."""

    name: str
    figure: Figure


def bars(results: Sequence[Result], work: str) -> list[Bar]:
    """The cheapest first; of a proxy that was measured twice the first one."""
    found: dict[str, Bar] = {}
    for benchmark in BENCHMARKS:
        for result in results:
            if result.benchmark != benchmark:
                continue
            for figure in result.figures:
                at, _, name = figure.name.partition(": ")
                if at == work and figure.unit == "us" and "/" not in name:
                    found.setdefault(name, Bar(name, figure))
    return sorted(found.values(), key=lambda bar: bar.figure.value)


def svg(results: Sequence[Result]) -> str:
    """The plot; empty where there is nothing to show."""
    groups = {work: bars(results, work) for work in WORKS}
    everything = [bar for group in groups.values() for bar in group]
    if not everything:
        return ""
    most = max(bar.figure.high or bar.figure.value for bar in everything)
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    lines: list[str] = []
    y = 0
    for work, group in groups.items():
        lines.append(_text(0, y + 20, f"{work}: CPU per request, us", weight="bold"))
        y += _HEAD
        for bar in group:
            lines += _bar(bar, y, scale)
            y += _STEP
    lines.append(
        _text(0, y + 16, "User and system time of all processes, median with 95 % interval")
    )
    y += _FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}"'
            f' height="{y}" font-family="sans-serif" font-size="13" role="img">',
            "<title>CPU time per request by proxy</title>",
            *lines,
            "</svg>\n",
        ]
    )


def _bar(bar: Bar, y: int, scale: float) -> Iterator[str]:
    figure = bar.figure
    length = figure.value * scale
    middle = y + _BAR / 2
    colour = _OWN if bar.name == GATEWAY else _OTHER
    weight = "bold" if bar.name == GATEWAY else "normal"
    yield _text(_LEFT - 8, middle + 4, bar.name, anchor="end", weight=weight)
    yield f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
    end = length
    if figure.low is not None and figure.high is not None:
        low, high = _LEFT + figure.low * scale, _LEFT + figure.high * scale
        end = max(length, figure.high * scale)
        yield (
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 4}V{y + _BAR - 4}'
            f'M{high:.1f} {y + 4}V{y + _BAR - 4}" stroke="{_TEXT}" fill="none"/>'
        )
    yield _text(_LEFT + end + 8, middle + 4, number(figure.value), weight=weight)


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{_TEXT}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(words)}</text>'
    )


def write(results: Sequence[Result], file: Path = FILE) -> None:
    """Keep it beside the results; what there is to show no more is removed."""
    text = svg(results)
    if text:
        file.write_text(text)
    else:
        file.unlink(missing_ok=True)
