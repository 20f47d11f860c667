"""A gateway with TLS: certificates change under load and nobody notices; nothing else can break it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.runtime.settings import CertificateSettings
from tests.support.certificates import issue, trusting
from tests.support.gateway import Gateway
from tests.support.load import Load, judge
from tests.support.origins import Origin, Origins
from tests.support.processes import wait_until

HOST = "shop.example"
OTHER = "other.example"


@pytest.fixture
def origin(origins: Origins) -> Origin:
    return origins.start("v1")


@pytest.fixture
def gateway(tmp_path: Path, origin: Origin) -> Iterator[Gateway]:
    found = Gateway(tmp_path, timeouts={"lame_duck": 1, "drain": 10})
    show(found, issue(tmp_path, HOST))
    found.config["entrypoints"]["internal"]["redirect_https"] = found.ports["public"]
    with found:
        found.api.register("v1", HOST, origin.port)
        yield found


def show(gateway: Gateway, *files: CertificateSettings) -> None:
    """Give the public entrypoint these certificates."""
    listed = [{"cert": one.cert, "key": one.key} for one in files]
    gateway.config["entrypoints"]["public"]["tls"] = {"certificates": listed}


def shown(gateway: Gateway, name: str = HOST) -> frozenset[str]:
    """The names of the certificate that a client gets now."""
    context = trusting()
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", gateway.ports["public"]), 5) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        found = sock.getpeercert()
    assert found is not None
    return frozenset(str(entry[1]) for entry in found["subjectAltName"])


def shows_everywhere(gateway: Gateway, *names: str) -> bool:
    """Do all workers show it? Connections are spread over them."""
    return all(shown(gateway) == frozenset(names) for _ in range(12))


def metric(gateway: Gateway, name: str) -> float:
    return gateway.metric(f"gateway_certificate_{name}")


def test_certificates_change_under_load_and_no_request_fails(
    gateway: Gateway, tmp_path: Path
) -> None:
    process = gateway.process
    assert process is not None
    first_expiry = metric(gateway, "expiry_timestamp_seconds")
    assert time.time() + 29 * 86400 < first_expiry < time.time() + 31 * 86400
    with Load(gateway.ports["public"], HOST, keeping=12, per_request=6, tls=trusting()) as load:
        load.wait_answers(60)
        began = time.monotonic()

        issue(tmp_path, HOST, "second.example", file=HOST, days=60)  # by itself
        wait_until(lambda: shows_everywhere(gateway, HOST, "second.example"))
        wait_until(lambda: metric(gateway, "expiry_timestamp_seconds") > first_expiry + 1)
        load.wait_answers(60)

        issue(tmp_path, HOST, "third.example", file=HOST)  # by HUP, at once
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: shows_everywhere(gateway, HOST, "third.example"))
        load.wait_answers(60)

        good = (tmp_path / f"{HOST}.pem").read_bytes()
        (tmp_path / f"{HOST}.pem").write_text("broken")
        wait_until(lambda: metric(gateway, "reload_failed") == 1)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.said("configuration not taken") == 1)
        assert shows_everywhere(gateway, HOST, "third.example")
        load.wait_answers(60)

        (tmp_path / f"{HOST}.pem").write_bytes(good)
        wait_until(lambda: metric(gateway, "reload_failed") == 0)
        show(gateway, issue(tmp_path, HOST, file=HOST), issue(tmp_path, OTHER))
        gateway.write_config()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown(gateway, OTHER) == {OTHER})
        wait_until(lambda: shows_everywhere(gateway, HOST))
        load.wait_answers(60)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
    kept = [r for r in load.records if r.keeps and r.start > began + 1]
    assert kept
    assert all(r.connected < began for r in kept), "a connection was lost"
    assert gateway.said("not taken, the one before stays in use") == 1


def test_a_worker_that_dies_while_a_file_is_broken_comes_back_with_the_certificate_before(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / f"{HOST}.key").write_text("broken")
    wait_until(lambda: metric(gateway, "reload_failed") == 1)
    before = gateway.workers
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: (
            len(gateway.workers) == 2 and not set(gateway.workers.values()) & set(before.values())
        )
    )
    wait_until(lambda: shows_everywhere(gateway, HOST))


def test_a_stop_under_load_fails_no_request(gateway: Gateway) -> None:
    process = gateway.process
    assert process is not None
    with Load(gateway.ports["public"], HOST, keeping=12, per_request=6, tls=trusting()) as load:
        load.wait_answers(60)
        process.terminate()
        wait_until(lambda: any(r.closing for r in load.records))
        load.wait_answers(10)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
    assert process.wait(15) == 0
    assert gateway.said("0 connections were cut") == 2


def test_plain_clients_are_led_to_https(gateway: Gateway) -> None:
    answer = gateway.ask("internal", "/x?y", HOST)
    assert answer.status == 308
    port = gateway.ports["public"]
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["location"] == f"https://{HOST}:{port}/x?y"


def test_a_broken_certificate_keeps_a_gateway_from_starting_and_is_told(
    gateway: Gateway, tmp_path: Path
) -> None:
    gateway.stop()
    (tmp_path / f"{HOST}.pem").write_text("broken")
    gateway.start(wait=False)
    assert gateway.process is not None
    assert gateway.process.wait(10) == 2
    place = "entrypoints.public.tls.certificates[0].cert"
    assert f"{place}: {tmp_path / HOST}.pem holds no certificate" in gateway.log
