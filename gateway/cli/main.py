"""The `gateway` command: global options and the list of commands.

One file per command group; each imports what it needs inside its functions, so
that `gateway --help` and tab completion stay fast. A command either talks to a
running gateway through `client.py` or starts one; none touches its state files.

Exit codes: 0 done, 1 refused, 2 usage or configuration, 3 gateway not reachable.
"""

from __future__ import annotations

import click

from gateway.cli.check import check
from gateway.cli.confirm import confirm
from gateway.cli.demo import demo
from gateway.cli.deploy import deploy
from gateway.cli.drain import drain, resume
from gateway.cli.explain import explain
from gateway.cli.logs import logs
from gateway.cli.options import target_options
from gateway.cli.releases import release, releases
from gateway.cli.remove import remove
from gateway.cli.rollback import rollback
from gateway.cli.routes import routes
from gateway.cli.run import run
from gateway.cli.scale import scale
from gateway.cli.services import services
from gateway.cli.shift import shift
from gateway.cli.status import status
from gateway.cli.token import token
from gateway.cli.validate import validate
from gateway.cli.weights import weights


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused, 2 usage, 3 gateway not reachable.",
)
@click.version_option(package_name="release-gateway", prog_name="gateway")
@target_options
def cli() -> None:
    """A weighted reverse-proxy gateway that releases software without anybody noticing.

    `run`, `check` and `demo` work by themselves; every other command talks to the
    admin API of a running gateway.
    """


WORKING = (run, check, demo)
RELEASING = (
    deploy,
    validate,
    status,
    shift,
    confirm,
    rollback,
    scale,
    remove,
    logs,
    release,
    releases,
)
ROUTING = (routes, weights, services, drain, resume, explain, token)

for _command in (*WORKING, *RELEASING, *ROUTING):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the `gateway` command; leaves by `SystemExit`."""
    cli(prog_name="gateway")
