"""How many cases of a black-box list for HTTP/1.1 proxies are passed, beside nginx, HAProxy and Caddy?

The list is a program of its own that is not in this repository (`--conformance PATH`): it plays
client and origin, sends raw bytes, and looks at what arrives at either end. What the peers reach
on the same list was measured once, on a machine like this one, and is given here as it was. Compiled and interpreted the gateway is asked
the same.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trustme

from gateway import compiled

from .gateway import gateway_with
from .programs import free_ports
from .results import Figure, Findings, Scope, Skipped

HOST = "check.test"
QUICK = "base.*,smug.*,hop.*"
"""Families of cases that a quick run looks at."""
LONGEST_S = 1800.0


@dataclass(frozen=True, slots=True)
class Peer:
    """What another proxy passed, of all cases."""

    name: str
    must: int
    should: int


MUST, SHOULD = 248, 61
PEERS = (
    Peer("nginx 1.22.1", 240, 43),
    Peer("HAProxy 2.6.12", 240, 43),
    Peer("Caddy 2.6.2", 235, 42),
)


def run(scope: Scope) -> Findings:
    """See the module. Raises `Skipped` without the list."""
    program = scope.options.conformance
    if program is None:
        raise Skipped("the list of cases is not part of the repository: name it by --conformance")
    builds = [compiled.Mode.INTERPRETED]
    if compiled.finding().mode is compiled.Mode.COMPILED:
        builds.insert(0, compiled.Mode.COMPILED)
    figures, cases = list[Figure](), list[Mapping[str, Any]]()
    for build in builds:
        found = _cases(scope, program, build)
        figures += [_score(found, severity, build) for severity in ("must", "should")]
        cases += found
    for severity, total in (("must", MUST), ("should", SHOULD)):
        for peer in PEERS if not scope.quick else ():  # which looks at some cases only
            passed = peer.must if severity == "must" else peer.should
            figures.append(
                Figure(f"{peer.name}: {severity}", passed, note=f"of {total}, measured once")
            )
    failed = [f"{c['id']} ({c['severity']})" for c in cases if c["result"] in ("fail", "error")]
    skipped = [c["id"] for c in cases if c["result"] == "skip"]
    return Findings(tuple(figures), {"failed": failed, "skipped": skipped})


def _score(cases: Sequence[Mapping[str, Any]], severity: str, build: compiled.Mode) -> Figure:
    found = [c["result"] for c in cases if c["severity"] == severity and c["result"] != "skip"]
    passed = found.count("pass")
    promise = len(found) if severity == "must" else None
    name = f"this gateway, {build.value}: {severity}"
    return Figure(name, passed, promise=promise, note=f"of {len(found)}")


def _cases(scope: Scope, program: Path, build: compiled.Mode) -> list[dict[str, Any]]:
    origin, secure = free_ports(2)
    folder = scope.folder / build.value
    folder.mkdir()
    out = folder / "cases.json"
    variables = {compiled.SWITCH: "1" if build is compiled.Mode.INTERPRETED else ""}
    settings: dict[str, object] = {
        "timeouts": {
            "lame_duck": 0,
            "drain": 2,
            "connect": 2,
            "response_header": 10,
            "client_header": 8,
            "client_body": 8,
            "client_idle": 8,
            "tls_handshake": 8,
            "idle_stream": 8,
        },
        "ejection": {"failures": 0},
        "checks": {"interval": 0.2, "fall": 1000},  # the list breaks the only origin on purpose
    }
    tls = {"listen": f"127.0.0.1:{secure}", "tls": {"certificates": [_certificate(folder)]}}
    settings["entrypoints"] = {"secure": tls}
    with gateway_with(variables, folder, 2, settings) as front:
        front.api.register("origin", HOST, origin)
        front.api.set_affinity(HOST, False)  # answers are to arrive as they were sent
        command = [
            sys.executable,
            str(program.absolute()),
            *("--proxy", f"127.0.0.1:{front.port}", "--proxy-tls", f"127.0.0.1:{secure}"),
            *("--backend-port", str(origin), "--host", HOST, "--json", str(out), "--quiet"),
            *("--proxy-pid", str(front.pid)),
            *(("--only", QUICK) if scope.quick else ()),
        ]
        done = subprocess.run(
            command,
            cwd=program.absolute().parent,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    if not out.exists():
        raise RuntimeError(f"the list of cases did not come to its end: {done.stderr[-500:]}")
    found: list[dict[str, Any]] = orjson.loads(out.read_bytes())["results"]
    return found


def _certificate(folder: Path) -> dict[str, str]:
    made = trustme.CA().issue_cert(HOST)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return {"cert": str(cert), "key": str(key)}
