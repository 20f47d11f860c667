"""What does TLS cost, beside nginx? TLS 1.3, one certificate (ECDSA P-256) for both, both as their
defaults are otherwise.

Small answers and 1 MB answers over 64 kept connections; and full handshakes, each with one request,
from eight processes that resume nothing.
"""

from __future__ import annotations

import socket
from functools import partial

from .apart import processes
from .backends import backends
from .bodies import CONNECTIONS, WORKS
from .contenders import Contender, Field, Row, contenders
from .cpu import HEADS
from .generators import fire
from .handshakes import PROCESSES
from .handshakes import fire as fire_handshakes
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Findings, Scope, Skipped
from .tools import Tool, find
from .turns import Lane, Rounds, costs, details, take_turns

ROUNDS = Rounds(5, 2)
QUICK_ROUNDS = Rounds(2, 1)
HANDSHAKES = "TLS handshakes"
SMALL = "TLS, small answers"
LARGE = "TLS, 1 MB answers"
HOST = Row.SECURE.host


def run(scope: Scope) -> Findings:
    """See the module."""
    if find(Tool.NGINX) is None or find(Tool.WRK) is None:
        raise Skipped("it needs nginx as a peer, and wrk, which knows TLS")
    for_proxies, for_load = split_cpus()
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies, (Tool.NGINX,)) as field,
        processes(PROCESSES) as pool,
    ):
        close = browser_heads(HOST, 1, close=True)[0]
        lanes = [_small(scope, c) for c in field.running]
        lanes += [_large(scope, c) for c in field.running]
        lanes += [
            Lane(
                HANDSHAKES,
                c.name,
                c.cpu_s,
                partial(
                    fire_handshakes,
                    pool,
                    c.ports[Row.SECURE],
                    HOST,
                    field.certificate.authority,
                    close,
                ),
            )
            for c in field.running
        ]
        ciphers = {c.name: _cipher(field, c) for c in field.running}
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
    names = [contender.name for contender in field.running]
    return Findings(
        (
            *costs(samples, SMALL, names),
            *costs(samples, LARGE, names),
            *costs(samples, HANDSHAKES, names, "handshakes"),
        ),
        {"ciphers": ciphers, "samples": details(samples)},
    )


def _small(scope: Scope, contender: Contender) -> Lane:
    heads = browser_heads(HOST, HEADS)
    port = contender.ports[Row.SECURE]
    fired = partial(fire, port, heads, CONNECTIONS, scope.folder, tls=True)
    return Lane(SMALL, contender.name, contender.cpu_s, fired)


def _large(scope: Scope, contender: Contender) -> Lane:
    (work,) = (work for work in WORKS if work.name in LARGE)
    lane = work.lane(contender, scope, Row.SECURE)
    return Lane(LARGE, lane.name, lane.cpu_s, lane.fire)


def _cipher(field: Field, contender: Contender) -> str:
    """What it and a client like ours agree on."""
    with (
        socket.create_connection(("127.0.0.1", contender.ports[Row.SECURE])) as plain,
        field.certificate.client().wrap_socket(plain, server_hostname=HOST) as sock,
    ):
        return f"{sock.version()} {(sock.cipher() or ('none',))[0]}"
