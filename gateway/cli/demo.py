"""`gateway demo`: a gateway with something behind it, and a tour to try it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.run import settings_of
from gateway.cli.style import style

if TYPE_CHECKING:
    from gateway.cli.client import AdminClient
    from gateway.demo.stage import Stage
    from gateway.demo.tour import Places
    from gateway.runtime.settings import Settings

CONFIG = Path(__file__).parents[2] / "config" / "demo.yaml"
START_S = 30.0

BACKENDS = (
    ("page-v1", "page", 2),
    ("page-v2", "page", 1),
    ("api-v1", "api", 1),
    ("api-v2", "api", 1),
)
"""Service, kind and number of instances."""

WEIGHTS = {
    "page.localhost": {"page-v1": 90, "page-v2": 10},
    "api.localhost": {"api-v1": 100, "api-v2": 0},
}


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=CONFIG,
    show_default="config/demo.yaml",
    help="Configuration of the gateway; its admin API must have `auth: none`.",
)
def demo(config: Path) -> None:
    """Run a gateway with two versions of a page and of an API behind it.

    Prints a tour of lines to paste into another terminal and stays in the
    foreground; Ctrl-C stops everything.
    """
    from gateway.demo.stage import BackendFailed, Stage

    settings = settings_of(config)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    state = Path(settings.state_dir)
    try:
        with Stage(state / "gateway.log") as stage:
            _perform(stage, settings, config, state)
    except KeyboardInterrupt:
        click.echo("stopped")
    except OSError as error:
        click.echo(f"gateway: {error.filename or state}: {error.strerror or error}", err=True)
        sys.exit(2)
    except BackendFailed as failed:
        click.echo(f"gateway: {failed}", err=True)
        sys.exit(1)


def _perform(stage: Stage, settings: Settings, config: Path, state: Path) -> None:
    from gateway.cli.client import AdminClient, addresses
    from gateway.demo.tour import Places

    admin = _admin_url(settings)
    public = next((e for e in settings.entrypoints.values() if not e.internal), None)
    if public is None:
        raise click.UsageError("the demo needs a public entrypoint")
    click.echo("starting the gateway and five small servers behind it ...")
    stage.start_gateway(("run", "-c", str(config)))
    ports = {
        name: [stage.start_backend(name, kind) for _ in range(count)]
        for name, kind, count in BACKENDS
    }
    client = AdminClient(addresses(admin))
    _wait_ready(stage, client)
    _register(client, ports)
    jar = state / "cookies.txt"
    jar.unlink(missing_ok=True)
    command = command_here()
    if [str(address) for address in addresses(os.environ.get("GATEWAY_ADMIN"))] != [admin]:
        command += f" --admin {admin}"
    _print_tour(Places(f"http://{_reachable(public.listen)}", admin, command, str(jar)), state)
    code = stage.wait_gateway()
    click.echo(f"the gateway ended: {stage.last_words()}", err=True)
    sys.exit(code or 1)


def _admin_url(settings: Settings) -> str:
    """Where the admin API will be; refused when another program is there already.

    Without that look the demo would wait for, and then furnish, somebody else's gateway.
    """
    from gateway.runtime import sockets
    from gateway.runtime.errors import StartRefused
    from gateway.runtime.settings import AdminAuth

    if settings.admin.listen is None or settings.admin.auth is not AdminAuth.NONE:
        raise click.UsageError("the demo needs `admin: {listen: HOST:PORT, auth: none}`")
    wanted = sockets.Wanted("admin", "admin.listen", settings.admin.listen)
    try:
        sockets.open_single(wanted).close()
    except StartRefused as refused:
        click.echo(f"gateway: {refused}", err=True)
        sys.exit(2)
    return f"http://{_reachable(settings.admin.listen)}"


def _wait_ready(stage: Stage, client: AdminClient) -> None:
    from gateway.cli.client import Refused, Unreachable

    deadline = time.monotonic() + START_S
    while True:
        code = stage.gateway_code()
        if code is not None:
            click.echo(stage.last_words() or "the gateway did not start", err=True)
            sys.exit(code or 1)
        try:
            client.get("/readyz")
            return
        except (Unreachable, Refused):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _register(client: AdminClient, ports: dict[str, list[int]]) -> None:
    """Make the routes as the tour expects them, whatever an earlier run left."""
    from gateway.cli.client import path

    for name, of in ports.items():
        client.call(
            "PUT",
            path("services", name),
            body={
                "routes": [{"host": f"{name.partition('-')[0]}.localhost"}],
                "coexist": True,
                "endpoints": [f"127.0.0.1:{port}" for port in of],
                "health": {"path": "/health"},
            },
        )
    for route, weights in WEIGHTS.items():
        client.call("PATCH", path("routes", route, "weights"), body=weights)
    client.call("PUT", path("routes", "page.localhost"), body={"selectors": True})
    deadline = time.monotonic() + START_S
    for name in ports:
        while time.monotonic() < deadline:
            answer = client.get(path("services", name, "instances"))
            if all(instance["health"] == "healthy" for instance in answer["instances"]):
                break
            time.sleep(0.05)


def _print_tour(at: Places, state: Path) -> None:
    from gateway.demo.tour import stops

    click.echo(f"\nrunning: {at.public} (admin API {at.admin}, log {state / 'gateway.log'})")
    click.echo(f"in a browser: {at.public.replace('127.0.0.1', 'page.localhost')}/")
    click.echo("\nPaste these into another terminal, in this folder:\n")
    for number, stop in enumerate(stops(at), 1):
        click.echo(style(f"# {number}. {stop.title}", "cyan"))
        for line in stop.lines:
            click.echo(line)
        click.echo()
    click.echo("Ctrl-C stops everything.")


def command_here() -> str:
    """How a shell in this folder calls the `gateway` command that runs now."""
    script = Path(sys.executable).with_name("gateway")
    on_path = shutil.which("gateway")
    if on_path is not None and Path(on_path).resolve() == script.resolve():
        return "gateway"
    if not script.exists():
        return f"{sys.executable} -m gateway"
    try:
        return str(script.relative_to(Path.cwd()))
    except ValueError:
        return str(script)


def _reachable(listen: str) -> str:
    """An address to connect to for one to listen on."""
    from gateway.runtime.addresses import Address, parse

    address = parse(listen)
    everywhere = address.host in ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    return str(Address("127.0.0.1" if everywhere else address.host, address.port))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
