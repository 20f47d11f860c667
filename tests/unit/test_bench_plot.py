"""The plot: whose bars it has, how long they are, and that it is the one of the kept results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plot
from bench.__main__ import kept
from bench.results import Figure, Result
from tests.unit.test_bench_goals import a_result

FAST = a_result(
    "cpu",
    Figure("plain route: gateway", 20.0, "us", 18.0, 25.0),
    Figure("plain route: nginx", 10.0, "us", 9.0, 11.0),
    Figure("plain route: gateway / nginx", 2.0),
    Figure("sticky route: gateway", 24.0, "us"),
)
OTHERS = a_result(
    "cpu-others",
    Figure("plain route: gateway", 21.0, "us"),
    Figure("plain route: caddy", 100.0, "us", 90.0, 200.0),
)
SVG = "{http://www.w3.org/2000/svg}"


def widths(results: list[Result]) -> list[float]:
    root = ElementTree.fromstring(plot.svg(results))
    return [float(bar.get("width", "0")) for bar in root.iter(f"{SVG}rect")]


def test_each_proxy_has_one_bar_per_work_the_cheapest_first() -> None:
    bars = plot.bars([OTHERS, FAST], "plain route")
    assert [(bar.name, bar.figure.value) for bar in bars] == [
        ("nginx", 10.0),
        ("gateway", 20.0),
        ("caddy", 100.0),
    ]
    assert [bar.name for bar in plot.bars([FAST], "sticky route")] == ["gateway"]


def test_bars_are_as_long_as_their_values_and_all_have_room() -> None:
    nginx, gateway, caddy, sticky = widths([FAST, OTHERS])
    assert gateway == pytest.approx(2 * nginx, abs=0.2)
    assert caddy == pytest.approx(10 * nginx, abs=0.5)
    assert sticky == pytest.approx(2.4 * nginx, abs=0.2)
    assert 2 * caddy < 720


def test_names_and_values_stand_beside_them() -> None:
    root = ElementTree.fromstring(plot.svg([FAST]))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"gateway", "nginx", "20", "10", "24"} <= set(texts)
    assert len(list(root.iter(f"{SVG}path"))) == 2, "an interval where there is one"


def test_names_cannot_break_the_picture() -> None:
    odd = a_result("cpu", Figure("plain route: a<b&c", 1.0, "us"))
    assert "a<b&c" in {e.text for e in ElementTree.fromstring(plot.svg([odd])).iter(f"{SVG}text")}


def test_without_figures_there_is_no_plot(tmp_path: Path) -> None:
    file = tmp_path / "cpu.svg"
    plot.write([FAST], file)
    assert file.exists()
    plot.write([a_result("kills")], file)
    assert not file.exists()


def test_the_plot_is_that_of_the_kept_results() -> None:
    assert plot.FILE.read_text() == plot.svg(kept("performance")), "run `python -m bench --docs`"
