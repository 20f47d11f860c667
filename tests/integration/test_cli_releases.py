"""The commands around releases against the real admin API."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import aiohttp
from click.testing import CliRunner, Result

from gateway.cli.main import cli
from gateway.cli.options import Target
from gateway.core.model import InstanceId, ServiceId
from tests.support.api import NOW, Api, Fell, on_an_api

V1 = """\
web-v1:
  image: web:1
  labels: {aliyun.scale: 2, aliyun.routing.port_80: shop.example}
"""
V2 = """\
web-v2:
  image: web:2
  labels: {aliyun.scale: 2, aliyun.routing.port_80: shop.example, aliyun.routing.coexist: true}
"""


@dataclass
class QuickClock:
    """Seconds pass in hundredths."""

    now: float = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 100)
        self.now += seconds


async def run(api: Api, *arguments: str, stdin: str | None = None, code: int = 0) -> Result:
    """A command in a thread; its exit code must be this one."""
    assert isinstance(api.unix.connector, aiohttp.UnixConnector)
    runner = CliRunner(env={"GATEWAY_ADMIN": api.unix.connector.path})
    done = await asyncio.to_thread(
        runner.invoke, cli, list(arguments), input=stdin, obj=Target(clock=QuickClock())
    )
    assert done.exit_code == code, done.output
    return done


@on_an_api
async def test_an_application_is_deployed_released_confirmed_and_taken_back(api: Api) -> None:
    done = await run(api, "deploy", "shop", "-f", "-", "--wait", stdin=V1)
    assert "shop is deployed: web-v1" in done.stdout

    done = await run(api, "deploy", "shop", "-f", "-", "--wait", "--reason", "news", stdin=V2)
    assert "web-v2 and web-v1 run side by side; 0 % of their traffic to web-v2" in done.stdout
    assert "gateway shift shop 100" in done.stdout
    done = await run(api, "status", "shop")
    assert "2/2" in done.stdout
    done = await run(api, "confirm", "shop", code=1)
    assert "[no_traffic_on_new]" in done.stderr

    done = await run(api, "shift", "shop", "100")
    assert "next: gateway confirm shop\n" in done.stdout
    done = await run(api, "confirm", "shop", "--wait")
    assert "shop-2 is confirmed; web-v1 removed" in done.stdout
    assert "web-v1" not in (await run(api, "status", "shop")).stdout

    done = await run(api, "deploy", "shop", "--previous", "--wait")
    done = await run(api, "rollback", "shop", "--wait", "--reason", "better not")
    assert "shop-3 is rolled back: better not" in done.stdout
    rows = (await run(api, "releases", "shop")).stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["RELEASE", "shop-3", "shop-2", "shop-1"]
    assert "better not" in (await run(api, "release", "shop-3")).stdout

    done = await run(api, "remove", "shop", "--force", "--wait")
    assert "shop is gone" in done.stdout
    assert "no applications yet" in (await run(api, "status")).stdout


@on_an_api
async def test_a_dry_run_shows_the_plan(api: Api) -> None:
    await run(api, "deploy", "shop", "-f", "-", "--wait", stdin=V1)
    done = await run(api, "deploy", "shop", "-f", "-", "--dry-run", stdin=V2)
    for text in ("web-v2", "green", "web-v1", "blue", "shop.example", "nothing was changed"):
        assert text in done.stdout
    found = json.loads((await run(api, "releases", "--json")).stdout)["releases"]
    assert [r["id"] for r in found] == ["shop-1"]
    assert len(api.controller.state.releases) == 1


@on_an_api
async def test_a_version_that_does_not_come_up_ends_the_waiting_with_its_last_words(
    api: Api,
) -> None:
    await run(api, "deploy", "shop", "-f", "-", "--wait", stdin=V1)
    failing = [f"web-v2@127.0.0.1:{port}" for port in (20100, 20101)]
    api.checks.failing.update(failing)
    for id in failing:
        api.launcher.problems[id] = "connection refused"
    fell = Fell(InstanceId(failing[0]), "ended with exit code 3", output=("no such module",))
    api.launcher.fell["shop/web-v2"] = [fell]
    waiting = asyncio.create_task(run(api, "deploy", "shop", "-f", "-", "--wait", stdin=V2, code=1))
    async with asyncio.timeout(5):
        while "shop-2" not in api.controller.state.releases:
            await asyncio.sleep(0.005)
    done = await run(api, "status", "shop")
    assert "connection refused" in done.stdout
    assert "  | no such module" in done.stdout
    await api.wall.advance(301)
    done = await waiting
    assert "ended with exit code 3\n  | no such module\n" in done.stderr
    assert "shop-2 is rolled back: not healthy within 300 s" in done.stderr


@on_an_api
async def test_scaling_logs_and_validation(api: Api) -> None:
    await run(api, "deploy", "shop", "-f", "-", "--wait", stdin=V1)
    done = await run(api, "scale", "web-v1", "3")
    assert "3 wanted" in done.stdout
    assert api.controller.state.services[ServiceId("shop/web-v1")].scale == 3
    await run(api, "scale", "web-v1", "0", code=1)

    api.launcher.wrote.append(("shop", "web-v1", "web-v1@127.0.0.1:20000", "hello"))
    done = await run(api, "logs", "shop", "web-v1", "-n", "1")
    assert done.stdout == "web-v1@127.0.0.1:20000 | hello\n"
    await run(api, "logs", "shop", "web-v9", code=1)

    done = await run(api, "validate", "-", stdin=V2)
    assert "ok, a template" in done.stdout
    done = await run(api, "validate", "-", stdin=V2.replace("scale", "scael"), code=1)
    assert "aliyun.scale" in done.stderr
    done = await run(api, "deploy", "shop", "-f", "-", stdin=V2.replace("web:2", "web:9"), code=1)
    assert "web-v2.image" in done.stderr


@on_an_api
async def test_problems_says_whether_anybody_was_asked(api: Api) -> None:
    done = await run(api, "problems")
    assert done.stdout.startswith("no Engine was asked for containers: providers.docker")

    async def report(problem: str | None) -> None:
        api.controller.report_provider("docker", problem)
        while api.controller.observed.providers != {"docker": problem}:
            await asyncio.sleep(0)

    await report(None)
    done = await run(api, "problems")
    assert done.stdout == "every route is served as the labels of containers say\n"
    await report("Connection refused")
    done = await run(api, "problems")
    assert done.stdout.endswith("what it said last counts:\n  Connection refused\n")
