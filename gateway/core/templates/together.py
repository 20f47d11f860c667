"""Whether the services of a template fit together: shared routes, and who waits for whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from gateway.core.errors import Code
from gateway.core.model import RouteId
from gateway.core.names import quote

from .problems import SHOWN_MAX, Findings
from .service import Read

_NAMED_MAX = 3


def check_routes(services: Sequence[Read], findings: Findings) -> None:
    """Of the services on one route, all but one must be marked as coexisting."""
    holders: dict[RouteId, list[Read]] = {}
    for read in services:
        if not read.service.coexist:
            for route in read.routes:
                holders.setdefault(route, []).append(read)
    for route, several in holders.items():
        if len(several) < 2:
            continue
        names = [read.service.name for read in several]
        for index, read in enumerate(several):
            others = names[: _NAMED_MAX + 1] if index > _NAMED_MAX else names
            others = [n for n in others[: _NAMED_MAX + 1] if n != read.service.name][:_NAMED_MAX]
            more = len(names) - 1 - len(others)
            findings.add(
                read.routes[route],
                f"the route {quote(route)} is claimed by {', '.join(others)}"
                f"{f' and {more} more' if more else ''} too; mark all of them but one with the "
                "label gateway.routing.coexist: true",
                Code.ROUTE_CONFLICT,
            )


def check_depends(services: Sequence[Read], names: Collection[str], findings: Findings) -> None:
    """Everybody who is waited for exists, and nobody waits for himself in the end."""
    for read in services:
        for name, place in read.depends.items():
            if name not in names:
                findings.add(
                    place, f"there is no service {quote(name)} here{findings.hint(name, names)}"
                )
    by_name = {read.service.name: read for read in services}
    edges = {n: [d for d in r.depends if d in by_name] for n, r in by_name.items()}
    for cycle in islice(_cycles(edges), SHOWN_MAX):
        shown = [*cycle[:10], *(["..."] if len(cycle) > 10 else []), cycle[0]]
        findings.add(
            by_name[cycle[0]].depends[cycle[1 % len(cycle)]],
            f"services wait for one another: {' -> '.join(map(quote, shown))}",
        )


def _cycles(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """A cycle for each way back that a walk over all edges meets (no recursion)."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        position: dict[str, int] = {}
        stack = [(start, iter(edges[start]))] if start not in done else []
        if stack:
            position[start] = 0
            path.append(start)
        while stack:
            node, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                path.pop()
                del position[node]
                done.add(node)
            elif following in position:
                yield path[position[following] :]
            elif following not in done:
                position[following] = len(path)
                path.append(following)
                stack.append((following, iter(edges[following])))
