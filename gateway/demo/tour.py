"""The tour that the demo prints: lines to paste into a second terminal.

Pure text from addresses; a test runs every line of it against a real demo. It
begins with the applications as `FIRST` says.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST = {"nginx": "nginx-v1.yaml", "hello": "hello-1-initial.yaml"}
"""Application to the template that is deployed when the tour begins."""


@dataclass(frozen=True, slots=True)
class Places:
    """What the tour's lines name."""

    public: str
    """`http://127.0.0.1:8080`"""
    admin: str
    """`http://127.0.0.1:8900`"""
    command: str
    """How to call the command line here: `.venv/bin/gateway`."""
    templates: str
    """The folder of the templates."""
    jar: str
    """A file for curl's cookies."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop of the tour: what it shows, and the lines that show it."""

    title: str
    lines: tuple[str, ...]


def stops(at: Places) -> tuple[Stop, ...]:
    """The tour."""
    nginx = f"curl -s -H 'Host: nginx.localhost' {at.public}/"
    browser = f"curl -s -b {at.jar} -c {at.jar} -H 'Host: nginx.localhost' {at.public}/"
    hello = f"curl -s -w '\\n' -H 'Host: serviceb.localhost' {at.public}/"
    api = f"{at.admin}/api/v1"
    weights = f"{api}/routes/nginx.localhost/weights"
    as_json = "-H 'Content-Type: application/json'"
    return (
        Stop(
            "Two applications run. nginx is one service; hello is two: serviceB asks serviceA"
            " through the gateway",
            (nginx, hello, f"{at.command} status", f"{at.command} status hello"),
        ),
        Stop("A browser (here: a cookie jar) comes, and is served by nginx-v1", (browser,)),
        Stop(
            "Release nginx-v2: it runs beside nginx-v1, green beside blue, with weight 0",
            (
                f"{at.command} deploy nginx -f {at.templates}/nginx-v2.yaml"
                " --strategy blue-green --wait",
                f"{at.command} status nginx",
                f"curl -s {weights}",
                nginx,
            ),
        ),
        Stop(
            "Until it is confirmed or rolled back no other release of nginx can begin",
            (
                "curl -s -H 'Content-Type: application/yaml' --data-binary"
                f" @{at.templates}/nginx-v1.yaml {api}/applications/nginx/releases",
            ),
        ),
        Stop(
            "Set the weights: the browser stays on nginx-v1, a new one sees nginx-v2",
            (
                f"""curl -s -X PUT {as_json} -d '{{"nginx-v1": 0, "nginx-v2": 100}}' {weights}""",
                browser,
                nginx,
            ),
        ),
        Stop(
            "Confirm: nginx-v1 finishes its work, stops and is gone; its browser moves on",
            (f"{at.command} confirm nginx --wait", f"{at.command} status nginx", browser),
        ),
        Stop(
            "A second release, back to the template before: it gets all traffic,"
            " and is rolled back",
            (
                f"{at.command} deploy nginx --previous --wait",
                f"{at.command} shift nginx 100",
                nginx,
                f"{at.command} rollback nginx --wait",
                nginx,
            ),
        ),
        Stop(
            "Release the frontend of hello: serviceA-v1 is yellow, in both templates and unchanged",
            (
                f"{at.command} deploy hello -f {at.templates}/hello-2-frontend-release.yaml --wait",
                f"{at.command} status hello",
                hello,
                f"{at.command} shift hello 100",
                hello,
                f"{at.command} confirm hello --wait",
            ),
        ),
        Stop(
            "Release its backend, which no user calls: now serviceB is the yellow one",
            (
                f"{at.command} deploy hello -f {at.templates}/hello-3-backend-release.yaml --wait",
                f"{at.command} weights servicea.local serviceA-v1=0 serviceA-v2=100",
                hello,
                f"{at.command} confirm hello --wait",
                f"{at.command} routes",
            ),
        ),
        Stop(
            "What happened, what a program wrote, and figures for Prometheus",
            (
                f"{at.command} releases nginx",
                f"curl -s '{api}/releases?application=nginx'",
                f"{at.command} logs hello serviceB-v2",
                f"curl -s {at.admin}/metrics | grep ^gateway_release_phase",
            ),
        ),
    )
