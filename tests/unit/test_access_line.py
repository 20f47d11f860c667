"""A line of the access log: the quick way and the defined way write what `json` would."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.proxy import access_line
from gateway.proxy.access_line import LINE_BYTES, Entry

PATH_BYTES, PATH_BYTES_CUT, NAME_BYTES = 2048, 256, 255


@dataclass(frozen=True, slots=True)
class Case:
    """When, and what a line tells."""

    second: bytes = b"2023-11-14T22:13:20"
    millis: int = 7
    entrypoint: str = "public"
    client: str = "192.0.2.1"
    status: int = 200
    method: bytes = b"GET"
    host: bytes = b"shop.example"
    path: bytes = b'/cart?item=1&quote="\\"'
    flags: str = ""
    route: str = "shop.example"
    service: str = "-/shop-v2"
    instance: str = "shop-v2@127.0.0.1:1"
    duration_s: float = 0.0123456
    upstream_s: float = 0.01
    bytes_in: int = 3
    bytes_out: int = 4
    request_id: bytes = b"0123456789abcdef"
    sticky: str = "hit"
    retries: int = 1

    def entry(self) -> Entry:
        return Entry(**{name: getattr(self, name) for name in self.__slots__[2:]})


def quick(case: Case) -> bytes | None:
    return access_line.quick(case.second, case.millis, case.entry())


def defined(case: Case) -> bytes | None:
    return access_line.defined(case.second, case.millis, case.entry())


def told(raw: bytes, limit: int) -> str | None:
    cut = raw if len(raw) <= limit else raw[:limit] + b"..."
    return cut.decode("utf-8", "backslashreplace") or None


def oracle(case: Case) -> bytes | None:
    for limit in (PATH_BYTES, PATH_BYTES_CUT):
        fields = {
            "time": f"{case.second.decode()}.{case.millis:03d}Z",
            "entrypoint": case.entrypoint,
            "client": case.client,
            "method": told(case.method, NAME_BYTES),
            "host": told(case.host, NAME_BYTES),
            "path": told(case.path, limit),
            "status": case.status,
            "flags": case.flags or None,
            "route": case.route or None,
            "service": case.service or None,
            "instance": case.instance or None,
            "duration_ms": round(case.duration_s * 1e3, 3),
            "upstream_ms": None if case.upstream_s < 0 else round(case.upstream_s * 1e3, 3),
            "bytes_in": case.bytes_in,
            "bytes_out": case.bytes_out,
            "request_id": told(case.request_id, NAME_BYTES),
            "sticky": case.sticky or None,
            "retries": case.retries,
        }
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"
        if len(line.encode()) <= LINE_BYTES:
            return line.encode()
    return None


PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300)
RAW = PRINTABLE.map(str.encode) | st.binary(max_size=300)
NAMES = PRINTABLE | st.text(st.characters(codec="utf-8"), max_size=40)
PATHS = (
    RAW
    | st.binary(max_size=3000)
    | st.builds(
        lambda unit, times: unit * times,
        st.sampled_from([b"/", b'"', b"\x00"]),
        st.integers(0, 5000),
    )
)
SECONDS = (
    st.floats(0, 1e11)
    | st.floats(0, 2)
    # Halfway between two results of rounding, and next to it.
    | st.builds(lambda n, e: (n + 0.5) / 1e6 + e, st.integers(0, 10**9), st.floats(-1e-15, 1e-15))
    | st.integers(0, 10**9).map(lambda n: n / 1e6)
).map(abs)
COUNTS = st.integers(0, 2**63 - 1) | st.integers(0, 100)
CASES = st.builds(
    Case,
    millis=st.integers(0, 999),
    entrypoint=NAMES,
    client=NAMES,
    status=st.integers(0, 999),
    method=RAW,
    host=RAW,
    path=PATHS,
    flags=st.sampled_from(["", "UH", "DPE"]),
    route=NAMES,
    service=NAMES,
    instance=NAMES,
    duration_s=SECONDS,
    upstream_s=SECONDS | st.just(-1.0),
    bytes_in=COUNTS,
    bytes_out=COUNTS,
    request_id=RAW,
    sticky=st.sampled_from(["", "off", "new", "hit", "moved"]),
    retries=st.integers(0, 9),
)


@settings(deadline=None, max_examples=300)
@given(CASES)
@example(Case(path=b"/" * 2049))
@example(Case(path=b"/" * 2048, host=b"h" * 255, method=b"m" * 255, request_id=b"i" * 256))
@example(Case(upstream_s=-1.0, flags="UF", service="", instance="", route="", sticky=""))
def test_both_ways_write_what_json_writes(case: Case) -> None:
    expected = oracle(case)
    assert defined(case) == expected
    line = quick(case)
    assert line is None or line == expected


@settings(deadline=None, max_examples=300)
@given(SECONDS, SECONDS)
@example(0.0005e-3, 1.0005e-3)
@example(0.0, 999.9999994)
@example(999.9999996, 1000.0)
@example(0.0001, 0.00001)
def test_times_are_rounded_as_python_rounds(duration_s: float, upstream_s: float) -> None:
    case = Case(duration_s=duration_s, upstream_s=upstream_s)
    assert defined(case) == oracle(case)
    assert quick(case) in (None, oracle(case))


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(millis=0, duration_s=0.0, upstream_s=0.0, bytes_in=0, bytes_out=2**63 - 1),
        Case(millis=999, duration_s=999.0, upstream_s=-1.0),
        Case(flags="UF", route="", service="", instance="", sticky="", request_id=b""),
        Case(entrypoint="", client="", method=b"", host=b"", path=b""),
        Case(path=bytes(range(0x20, 0x7F)) * 15, request_id=b"i" * 255),
    ],
)
def test_what_requests_are_made_of_goes_the_quick_way(case: Case) -> None:
    assert quick(case) == oracle(case)


@pytest.mark.parametrize(
    "case",
    [
        Case(path=b"/caf\xc3\xa9"),
        Case(path=b"/\n"),
        Case(path=b"/\x7f"),
        Case(path=b"/" * 2049),
        Case(service="caf\u00e9"),
        Case(millis=-1),
        Case(millis=1000),
        Case(duration_s=-0.1),
        Case(duration_s=1e6),
        Case(bytes_in=-1),
    ],
)
def test_what_is_rare_is_left_to_the_definition(case: Case) -> None:
    assert quick(case) is None
    assert defined(case) is not None


@pytest.mark.parametrize(
    "named",
    [
        lambda name: Case(entrypoint=name),
        lambda name: Case(client=name),
        lambda name: Case(instance=name),
        lambda name: Case(sticky=name),
    ],
)
@pytest.mark.parametrize("letter", ["n", '"'])
def test_no_name_is_too_long_for_the_room_there_is(
    named: Callable[[str], Case], letter: str
) -> None:
    for size in range(LINE_BYTES // 2 // len(json.dumps(letter)[1:-1]) - 300, LINE_BYTES + 10, 7):
        case = named(letter * size)
        expected = oracle(case)
        assert defined(case) == expected
        assert quick(case) in (None, expected)


def test_each_byte_is_shown_as_json_shows_it() -> None:
    for byte in range(256):
        case = Case(path=bytes([byte]), host=b"a" + bytes([byte]))
        assert defined(case) == oracle(case)
        assert quick(case) == (oracle(case) if 0x20 <= byte <= 0x7E else None)


def test_what_is_not_unicode_has_no_line() -> None:
    case = Case(instance="\ud800")
    assert quick(case) is None
    assert defined(case) is None
