# cython: language_level=3, annotation_typing=False
"""One route, compiled: which service (and perhaps instance) gets a request.

Precedence: selector header, selector cookie, affinity, weights. A pool knows
nothing of sockets, of the request beyond the three values it is given, and of
how a service chooses among its instances.

Decisions are made when the pool is compiled and handed out from tables: a
request costs look-ups, not objects. Compiling is put off to the first request
after a change, so that a change of a service that a thousand routes share costs
a mark on each.

Invariants:

* a service of weight 0 is never drawn, whatever the others' health;
* over any full round of its schedule, each service is drawn exactly `weight` times;
* a decision with verdict OK names a service that has a usable instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from gateway.core.snapshot import SnapshotRoute
from gateway.core.vocabulary import AtZero, ServiceId

from . import affinity
from .affinity import HOME_LENGTH, TOKEN_LENGTH, Keyring, find_cookie
from .decision import UNKNOWN_SELECTION, Decision, Sticky, drawn, held, unhealthy
from .draw import Draw
from .service import InstanceState, ServiceState

SELECTOR_COOKIE = b"X-Gateway-Service"
"""The cookie that chooses a service where a route allows previews."""
_FORMER_MAX = 32


class _Redraw(Enum):
    """What becomes of a client whose token is known but whose service cannot be kept."""

    NEW = "new"
    MOVED = "moved"
    SPILLED = "spilled"


class Pool:
    """A route and the states of its members, in the order of `route.members`.

    `before`: the pool of the same route in the generation before, whose place in the
    round is taken over.

    `series` is the data plane's: metric handles by service id. `World` takes a
    service's entry out when the service is gone.
    """

    __slots__ = (
        "_cookie_key",
        "_cookies",
        "_draw",
        "_former",
        "_homes",
        "_keyring",
        "_pinned_sets",
        "_pins",
        "_ports",
        "_selected",
        "cookie_name",
        "internal",
        "route",
        "series",
        "services",
        "stale",
    )

    _draw: Draw

    def __init__(
        self,
        route: SnapshotRoute,
        services: Sequence[ServiceState],
        keyring: Keyring,
        slot: int,
        before: Pool | None = None,
    ) -> None:
        self.route = route
        self.internal = route.internal
        self.services = tuple(services)
        self.series: dict[ServiceId, Any] = {}
        self.stale = True
        """To be compiled before the next decision."""
        self._ports = {s: m.port for s, m in zip(services, route.members, strict=True)}
        weighted = [(s, m.weight) for s, m in zip(services, route.members, strict=True)]
        self._draw = Draw(weighted, route.spill, slot, None if before is None else before._draw)
        self._former = () if before is None else before._leavers(self.services)
        """Services that were members lately: their clients count as moved, not as new."""
        self._selected: dict[bytes, Decision] | None = None
        self._homes: dict[bytes, Decision | _Redraw] = {}
        self._pins: dict[bytes, Decision] = {}
        self._pinned_sets: list[tuple[InstanceState, ...]] | None = None
        """The instances that `_pins` was made for."""
        self._cookies: dict[tuple[InstanceState, bool], bytes] = {}
        self.rekey(keyring)

    def rekey(self, keyring: Keyring) -> None:
        """Read and sign tokens with these keys from now on."""
        policy = self.route.affinity
        self._keyring = keyring
        self.cookie_name: bytes | None = (
            policy.cookie.encode() if policy.enabled and not keyring.is_empty else None
        )
        """None: affinity is off, no cookie is read, set or stripped."""
        self._cookie_key = policy.cookie.encode() + b"="
        self._pinned_sets = None
        self.stale = True

    def decide(self, cookies: bytes | None, selector: bytes | None) -> Decision:
        """Where the next request goes.

        `cookies`: all Cookie field values joined with `; `; `selector`: the value of
        X-Gateway-Service.
        """
        if self.stale:
            self._compile()
        if self._selected is not None and (selector is not None or cookies is not None):
            selection = self._select(self._selected, cookies, selector)
            if selection is not None:
                return selection
        draw = self._draw
        name = self.cookie_name
        if name is None:
            return draw.next(draw.new)
        if cookies is not None:
            at = affinity.find(cookies, self._cookie_key, 0)
            if at >= 0:
                known = self._recall(cookies, name, at)
                if known is not None:
                    return known
        return draw.next(draw.new)

    def is_selected(self, cookies: bytes | None, selector: bytes | None) -> bool:
        """Does a request with these (see `decide`) name a member, and are selectors heeded here?"""
        if self.stale:
            self._compile()
        if self._selected is None:
            return False
        selection = self._select(self._selected, cookies, selector)
        return selection is not None and selection is not UNKNOWN_SELECTION

    def set_cookie(self, service: ServiceState, instance: InstanceState, secure: bool) -> bytes:
        """The value of Set-Cookie that pins a client to `instance` of `service`.

        Raises LookupError if affinity is off.
        """
        value = self._cookies.get((instance, secure))
        if value is None:
            if self.cookie_name is None:
                raise LookupError(f"affinity is off on {self.route.id}")
            homes = self._keyring.homes(self.route.id, service.id)
            token = self._keyring.tokens(homes, instance.id)[0]
            value = b"%b=%b; Path=%b; Max-Age=%d; HttpOnly; SameSite=Lax%b" % (
                self.cookie_name,
                token,
                _cookie_path(self.route.path),
                self.route.affinity.max_age_s,
                b"; Secure" if secure else b"",
            )
            self._cookies[instance, secure] = value
        return value

    def port_of(self, service: ServiceState) -> int | None:
        """The container port of `service` that serves this route; None: the instance's own."""
        return self._ports.get(service)

    def _recall(self, cookies: bytes, name: bytes, at: int) -> Decision | None:
        """What the first token in `cookies` that is known here stands for.

        `at`: where `name=` stands for the first time.
        """
        # First a look as browsers write it, a cookie of its own behind "; ": half the time.
        p = cookies
        begin = at + len(name) + 1
        end = begin + TOKEN_LENGTH
        size = len(cookies)
        if (end == size or (end < size and p[end] == 59)) and (
            at == 0 or (at > 1 and p[at - 1] == 32 and p[at - 2] == 59)
        ):
            hit = self._pins.get(p[begin:end])
            if hit is not None and hit.pinned is not None and hit.pinned.usable:
                return hit
        for token in find_cookie(cookies, name):
            hit = self._pins.get(token)
            if hit is not None and hit.pinned is not None and hit.pinned.usable:
                return hit
            if len(token) == TOKEN_LENGTH:
                home = self._homes.get(token[:HOME_LENGTH])
                if home is not None:
                    return home if isinstance(home, Decision) else self._redraw(home)
        return None

    def _select(
        self, selected: dict[bytes, Decision], cookies: bytes | None, selector: bytes | None
    ) -> Decision | None:
        if selector is not None:
            return selected.get(selector, UNKNOWN_SELECTION)
        if cookies is not None and SELECTOR_COOKIE in cookies:
            for value in find_cookie(cookies, SELECTOR_COOKIE):
                decision = selected.get(value)
                if decision is not None:
                    return decision
        return None

    def _redraw(self, why: _Redraw) -> Decision:
        draw = self._draw
        if why is _Redraw.SPILLED:
            spilled = draw.spill(draw.moved)
            if spilled is not None:
                return spilled
        return draw.next(draw.new if why is _Redraw.NEW else draw.moved)

    def _compile(self) -> None:
        self.stale = False
        self._draw.refresh(sticky=self.cookie_name is not None)
        self._selected = self._selections() if self.route.selectors else None
        if self.cookie_name is None:
            return
        sets = [s.instances for s in self.services]
        if self._pinned_sets is None or any(
            a is not b for a, b in zip(sets, self._pinned_sets, strict=True)
        ):
            self._pinned_sets = sets
            self._pins = self._all_pins()
            self._cookies = {}
        self._homes = self._all_homes()

    def _selections(self) -> dict[bytes, Decision]:
        """By full id, and by short name where only one member has it."""
        names = [s.name for s in self.services]
        selected = {}
        for service in self.services:
            decision = drawn(service, Sticky.OFF) if service.usable else unhealthy(service)
            selected[service.id.encode()] = decision
            if names.count(service.name) == 1:
                selected[service.name.encode()] = decision
        return selected

    def _all_pins(self) -> dict[bytes, Decision]:
        """What a whole token stands for. An instance's usability is looked at when it comes."""
        pins = {}
        evict = self.route.affinity.at_zero is AtZero.EVICT
        for service, member in zip(self.services, self.route.members, strict=True):
            if member.weight or not evict:
                homes = self._keyring.homes(self.route.id, service.id)
                for instance in service.instances:
                    for place, token in enumerate(self._keyring.tokens(homes, instance.id)):
                        pins[token] = held(instance, renew=place > 0)
        return pins

    def _all_homes(self) -> dict[bytes, Decision | _Redraw]:
        """What the service's part of a token stands for when its instance cannot be used."""
        homes: dict[bytes, Decision | _Redraw] = {}
        for former in self._former:
            homes.update(
                (home, _Redraw.MOVED) for home in self._keyring.homes(self.route.id, former)
            )
        for service, member in zip(self.services, self.route.members, strict=True):
            fate = self._fate(service, member.weight)
            homes.update((home, fate) for home in self._keyring.homes(self.route.id, service.id))
        return homes

    def _fate(self, service: ServiceState, weight: int) -> Decision | _Redraw:
        if not weight and self.route.affinity.at_zero is AtZero.EVICT:
            return _Redraw.NEW
        if service.usable:
            return drawn(service, Sticky.MOVED)
        if not weight:
            return _Redraw.MOVED
        return _Redraw.SPILLED if self.route.spill else unhealthy(service)

    def _leavers(self, present: Sequence[ServiceState]) -> tuple[ServiceId, ...]:
        ids = {s.id for s in present}
        once = dict.fromkeys((*self._former, *(s.id for s in self.services)))
        return tuple(i for i in once if i not in ids)[-_FORMER_MAX:]


def _cookie_path(path: str) -> bytes:
    """A route's prefix as a cookie's Path.

    A prefix that cannot be written there is cut at the last border before the
    character that cannot: the cookie is then sent with more requests, never with fewer.
    """
    for place, character in enumerate(path):
        if character == ";" or not " " < character < "\x7f":
            path = path[: path.rindex("/", 0, place)]
            break
    return (path.rstrip("/") or "/").encode()
