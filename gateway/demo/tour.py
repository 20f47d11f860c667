"""The tour that the demo prints: lines to paste into a second terminal.

Pure text from addresses; a test runs every line of it against a real demo.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """What the tour's lines name."""

    public: str
    """`http://127.0.0.1:8080`"""
    admin: str
    """`http://127.0.0.1:8900`"""
    command: str
    """How to call the command line here: `.venv/bin/gateway`."""
    jar: str
    """A file for curl's cookies."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of the tour: what it shows, and the lines that show it."""

    title: str
    lines: tuple[str, ...]


def stops(at: Places) -> tuple[Stop, ...]:
    """The tour."""
    page = f"curl -s -H 'Host: page.localhost' {at.public}/"
    browser = f"curl -s -b {at.jar} -c {at.jar} -H 'Host: page.localhost' {at.public}/"
    api = f"{at.admin}/api/v1"
    weights = f"{api}/routes/page.localhost/weights"
    put = "curl -s -X PUT -H 'Content-Type: application/json'"
    return (
        Stop(
            "A route answers by its weights: of 10 requests 9 go to page-v1, 1 to page-v2 (per worker)",
            (
                f"for i in $(seq 20); do {page}; done",
                f"curl -s -H 'Host: api.localhost' {at.public}/hello",
            ),
        ),
        Stop(
            "See the weights, and set them: all traffic to page-v1",
            (
                f"curl -s {weights}",
                f"""{put} -d '{{"page-v1": 100, "page-v2": 0}}' {weights}""",
                f"{at.command} routes",
            ),
        ),
        Stop(
            "A browser (here: a cookie jar) gets page-v1 ...",
            (f"for i in 1 2 3; do {browser}; done",),
        ),
        Stop(
            "... and stays on it after the switch to page-v2, while a new one sees page-v2",
            (
                f"{at.command} weights page.localhost page-v1=0 page-v2=100",
                browser,
                page,
            ),
        ),
        Stop(
            "Drain the instance that browser is on: it moves to the other one of page-v1",
            (
                f"instance=page-v1@$({browser} | grep -o '[0-9.]*:[0-9]*')",
                f'curl -s -X POST "{api}/instances/$instance/drain?wait=5"',
                browser,
                f"{at.command} services show page-v1",
                f"{at.command} resume $instance",
            ),
        ),
        Stop(
            "A preview: this route lets a header choose a version, whatever its weight",
            (
                f"curl -s -H 'X-Gateway-Service: page-v1' -H 'Host: page.localhost' {at.public}/",
                f"{at.command} explain http://page.localhost/",
                f"{at.command} explain http://page.localhost/ -H 'X-Gateway-Service: page-v1'",
            ),
        ),
        Stop(
            "Figures for Prometheus",
            (f"curl -s {at.admin}/metrics | grep ^gateway_requests_total",),
        ),
    )
