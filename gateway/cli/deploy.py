"""`gateway deploy`: the first deployment of an application, or its next release."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import Target, admin_options, wait_option, write_options, write_query
from gateway.core.release import OnDeadline, Strategy


@click.command()
@click.argument("app")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The template: a compose file, YAML or JSON; - is standard input.",
)
@click.option(
    "--previous", is_flag=True, help="Release the template before the last confirmed one again."
)
@click.option(
    "--strategy",
    type=click.Choice([s.value for s in Strategy]),
    help="How traffic may move.  [default: blue-green]",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="By when all new instances must be healthy.  [default: releases.deadline]",
)
@click.option(
    "--on-deadline",
    type=click.Choice([o.value for o in OnDeadline]),
    help="What becomes of the release if they are not.  [default: releases.on_deadline]",
)
@wait_option
@write_options
@admin_options
@click.pass_context
def deploy(
    context: click.Context,
    target: Target,
    app: str,
    file: Path | None,
    previous: bool,
    strategy: str | None,
    deadline: float | None,
    on_deadline: str | None,
    wait: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Release a template as the next version of application APP.

    The new services start beside the old ones and get no traffic yet; `gateway shift`,
    `gateway confirm` and `gateway rollback` decide. An application's first template
    serves as soon as it is healthy.

    With --wait the exit code is 0 when all new instances are healthy, 1 when the
    release was rolled back; then it is said why. Ctrl-C ends the waiting only.

    \b
    gateway deploy shop -f shop-v2.yaml --wait
    gateway deploy shop -f - --strategy canary < shop-v3.yaml
    gateway deploy shop --previous
    """
    if (file is None) is not previous:
        raise click.UsageError("give either a template (-f FILE) or --previous")
    from gateway.cli.releasing import ask, deployed, follow, tell
    from gateway.cli.template_file import read

    body = None if file is None else read(file)
    client = target.client()
    query = write_query(
        dry_run,
        reason,
        strategy=strategy,
        deadline=None if deadline is None else f"{deadline:g}",
        on_deadline=on_deadline,
        previous="true" if previous else None,
    )
    answer = ask(client, app, "releases", query, body)
    if wait and not dry_run:
        follow(context, target, client, answer, deployed, as_json)
    else:
        tell(target, answer, as_json)
