"""What the benchmark of releases counts, and as what. Nothing here looks at a clock."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from bench.passages import Stage, Story, bounded
from bench.records import Outcome, Request
from bench.release_kills import blows
from bench.retirements import Farewell, Retirement, farewells
from bench.shop import VERSIONS, Shop, after, template
from gateway.core.templates import parse
from gateway.runtime import configuration

GOOD = Request(1.0, 1.1, 1.2, 0.9, Outcome.ANSWERED, 1, 4000)


def served(service: int, sent: float, ended: float) -> Request:
    return replace(GOOD, sent=sent, ended=ended, service=service)


def test_a_request_sent_after_the_answer_and_served_by_the_retired_is_late() -> None:
    one = Retirement(asked=10, answered=11, service=2)
    before, meanwhile, late = served(2, 9, 9.5), served(2, 10.9, 11.5), served(2, 11.1, 11.2)
    assert farewells([before], [one]) == [Farewell(0.0, 0)]
    assert farewells([before, meanwhile], [one]) == [Farewell(1.5, 0)]
    assert farewells([before, meanwhile, late], [one]) == [Farewell(1.5, 1)]


def test_others_and_failures_do_not_count_as_served_by_the_retired() -> None:
    one = Retirement(asked=10, answered=11, service=2)
    cut = replace(served(2, 12, 13), outcome=Outcome.CUT)
    assert farewells([served(1, 12, 13), cut], [one]) == [Farewell(0.0, 0)]


def test_a_number_that_is_used_again_means_another_service() -> None:
    one = Retirement(asked=10, answered=11, service=2, until=20)
    again = Retirement(asked=30, answered=31, service=2)
    found = farewells([served(2, 19, 19.5), served(2, 20, 21), served(2, 29, 30.5)], [one, again])
    assert found == [Farewell(9.5, 1), Farewell(0.5, 0)]


@pytest.mark.parametrize("kept", [0, 1])
def test_a_retirement_is_judged_until_its_number_may_come_back_and_no_longer(kept: int) -> None:
    story, deployed = Story(), []
    for number in range(40):  # a release takes a second and is decided in its middle
        deployed.append(story.next)
        retired, stays = story.version, story.next
        if number % 2 != kept:
            retired, stays = stays, retired
        story.retirements.append(Retirement(number + 0.5, number + 0.6, retired))
        story.version, story.next = stays, after(story.next)
    for number, one in enumerate(bounded(story.retirements)):
        again = [later for later in range(number + 1, 40) if deployed[later] == one.service]
        assert one.until - one.asked >= 6
        assert not again or one.until < again[0]


def test_blows_fall_on_every_stage_at_moments_that_can_be_repeated() -> None:
    found = blows(20)
    assert found == blows(20)
    stages = [blow.stage for blow in found]
    assert {stages.count(stage) for stage in Stage} == {4}
    assert stages != sorted(stages)


def test_versions_go_round() -> None:
    assert [after(version) for version in (1, 2, VERSIONS)] == [2, 3, 1]


def test_only_own_processes_are_counted_as_versions() -> None:
    shop = Shop(20_000)
    assert shop.version_of("/usr/bin/python3 -m bench.responder 20007=v3 says hello. ") == 3
    assert shop.version_of("/usr/bin/python3 -m bench.responder 21000=v3 says hello. ") is None
    assert shop.version_of("/usr/bin/python3 -m bench.responder 19999=v3 says hello. ") is None
    assert shop.version_of("/usr/bin/python3 -m gateway run") is None


def test_the_gateway_knows_every_image_of_the_templates() -> None:
    settings = configuration.parse(orjson.dumps(Shop(20_000).settings))  # JSON is YAML
    for version in range(1, VERSIONS + 1):
        parsed = parse(template(version), application="shop", domain="d", source="")
        (service,) = parsed.template.services
        assert not parsed.warnings
        assert service.launch is not None
        image = settings.providers.process.images[service.launch.image]
        command = " ".join(image.command).replace("${PORT}", "20000")
        assert Shop(20_000).version_of(command) == version
