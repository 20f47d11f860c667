"""`gateway demo`: a gateway with two applications, and a tour that releases them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.run import settings_of
from gateway.cli.style import style

if TYPE_CHECKING:
    from gateway.cli.client import AdminClient
    from gateway.demo.stage import Stage
    from gateway.demo.tour import Places
    from gateway.runtime.settings import Settings

CONFIG = Path(__file__).parents[2] / "config" / "demo.yaml"
TEMPLATES = CONFIG.parent / "templates"
HOSTS = ("nginx.localhost", "serviceb.localhost")
START_S = 30.0
REMOVE_S = 60.0


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
    """Run a gateway with two small applications, ready to be released.

    Prints a tour of lines to paste into another terminal and stays in the
    foreground; Ctrl-C stops everything. Each start begins with the tour's first
    templates, whatever was released before.
    """
    from gateway.demo.stage import Stage

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


def _perform(stage: Stage, settings: Settings, config: Path, state: Path) -> None:
    from gateway.cli.client import AdminClient, addresses
    from gateway.demo.tour import FIRST, Places

    admin = _admin_url(settings)
    public = next((e for e in settings.entrypoints.values() if not e.internal), None)
    if public is None:
        raise click.UsageError("the demo needs a public entrypoint")
    click.echo(f"starting the gateway and the applications {' and '.join(FIRST)} ...")
    stage.start_gateway(("run", "-c", str(config)))
    client = AdminClient(addresses(admin))
    _wait_ready(stage, client)
    _deploy(client, FIRST)
    jar = state / "cookies.txt"
    jar.unlink(missing_ok=True)
    command = command_here()
    if [str(address) for address in addresses(os.environ.get("GATEWAY_ADMIN"))] != [admin]:
        command += f" --admin {admin}"
    places = Places(
        public=f"http://{_reachable(public.listen)}",
        admin=admin,
        command=command,
        templates=_from_here(TEMPLATES),
        jar=str(jar),
    )
    _print_tour(places, state)
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


def _deploy(client: AdminClient, first: Mapping[str, str]) -> None:
    """Deploy the templates anew, whatever an earlier run left of these applications."""
    from gateway.cli.client import Payload, path

    for application in first:
        _remove(client, application)
    releases = [
        client.call(
            "POST",
            path("applications", application, "releases"),
            [("on_deadline", "rollback")],
            Payload((TEMPLATES / template).read_bytes(), "application/yaml"),
        )
        for application, template in first.items()
    ]
    for release in releases:
        while release["phase"] != "confirmed":
            if release["phase"] == "rolled_back":
                raise click.ClickException(
                    f"{release['application']} did not come up: {_why(release)}"
                )
            time.sleep(0.05)
            release = client.get(path("releases", release["id"]))


def _why(release: Mapping[str, Any]) -> str:
    """Why it was rolled back."""
    return next(str(e["reason"]) for e in release["timeline"] if e["phase"] == "rolling_back")


def _remove(client: AdminClient, application: str) -> None:
    from gateway.cli.client import Refused, path

    deadline = time.monotonic() + REMOVE_S
    query = [("force", "true"), ("drain_timeout", "0")]
    try:
        client.call("DELETE", path("applications", application), query)
        while time.monotonic() < deadline:
            client.get(path("applications", application))
            time.sleep(0.05)
    except Refused as refused:
        if refused.status != 404:
            raise
        return
    raise click.ClickException(f"the application {application} of an earlier run does not go")


def _print_tour(at: Places, state: Path) -> None:
    from gateway.demo.tour import stops

    click.echo(f"\nrunning: {at.public} (admin API {at.admin}, log {state / 'gateway.log'})")
    click.echo(
        "in a browser: "
        + " and ".join(f"{at.public.replace('127.0.0.1', host)}/" for host in HOSTS)
    )
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
    return _from_here(script) if script.exists() else f"{sys.executable} -m gateway"


def _from_here(place: Path) -> str:
    """How a shell in this folder names a file."""
    try:
        return str(place.relative_to(Path.cwd()))
    except ValueError:
        return str(place)


def _reachable(listen: str) -> str:
    """An address to connect to for one to listen on."""
    from gateway.runtime.addresses import Address, parse

    address = parse(listen)
    everywhere = address.host in ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    return str(Address("127.0.0.1" if everywhere else address.host, address.port))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
