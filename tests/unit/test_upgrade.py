"""What is handed over is read as it was written, or refused; what a check says of a program."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import typing
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.core.snapshot import FORMAT as SNAPSHOT_FORMAT
from gateway.runtime import handover, messages, upgrade
from gateway.runtime.errors import StartRefused
from gateway.runtime.forms import is_form
from gateway.runtime.handover import Handover, UnknownForm
from gateway.runtime.link import BrokenLink, Link, encode
from gateway.runtime.settings import Settings, to_json

FDS = st.integers(0, 1 << 20)
JSON = st.dictionaries(st.text(), FDS | st.text() | st.none(), max_size=3)


def some(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of one of the document's classes."""
    found: dict[str, st.SearchStrategy[Any]] = {}
    for name in kind.__struct_fields__:
        found[name] = _of(typing.get_type_hints(kind)[name])
    return st.builds(kind, **found)


def _of(hint: Any) -> st.SearchStrategy[Any]:
    if hint == handover.Json:
        return JSON
    if is_form(hint):
        return some(hint)
    if typing.get_origin(hint) is tuple:
        return st.lists(_of(typing.get_args(hint)[0]), max_size=2).map(tuple)
    if type(None) in typing.get_args(hint):
        return st.none() | _of(next(a for a in typing.get_args(hint) if a is not type(None)))
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        int: FDS,
        float: st.floats(0, 1e9),
        str: st.text(),
        bool: st.booleans(),
    }
    return kinds[hint]


@given(some(Handover))
@hypothesis_settings(deadline=None, max_examples=40)
def test_what_is_handed_over_arrives_as_it_was(document: Handover) -> None:
    document = structs.replace(document, format=handover.FORMAT)
    assert handover.decode(handover.encode(document)) == document


def shape(kind: Any) -> Any:
    """The document's form, in words."""
    if is_form(kind):
        hints = typing.get_type_hints(kind)
        return {name: shape(hints[name]) for name in kind.__struct_fields__}
    arguments = [shape(a) for a in typing.get_args(kind) if a is not ...]
    origin = typing.get_origin(kind)
    if origin is typing.Union:  # whichever way it is written
        origin = types.UnionType
    return [origin.__name__, *arguments] if origin is not None else str(kind)


def test_whoever_changes_the_form_raises_its_number() -> None:
    """When this fails: raise `handover.FORMAT`, unless both sides understand the other; put both
    numbers here."""
    makers = inspect.getmembers(messages, inspect.isfunction)
    said = {name: str(inspect.signature(make)) for name, make in makers}
    forms = orjson.dumps(
        {
            "document": shape(Handover),
            "messages": {n: s for n, s in said.items() if not n.startswith("_")},
            "types": sorted(messages.T),
            "snapshot": SNAPSHOT_FORMAT,
        },
        option=orjson.OPT_SORT_KEYS,
    )
    assert (handover.FORMAT, zlib.crc32(forms)) == (3, 2338731470)


def an_offer(**changes: Any) -> Handover:
    unix = handover.HandedUnix(0, "/x", -1)
    return structs.replace(
        Handover(
            format=handover.FORMAT,
            settings=orjson.loads(to_json(Settings())),
            resources=handover.HandedResources(0, (), None, unix, unix, (), None, "1.2"),
            children=(),
            processes=handover.HandedProcesses((), (), ()),
            generation=3,
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"format": 1}', "hands over in format 1, this version takes 3; stop the gateway"),
        (b'{"format": null}', "format None"),
        (b'{"format": 3}', "makes no sense at settings"),
        (handover.encode(an_offer(generation="3")), "makes no sense at generation"),
        (handover.encode(an_offer()).replace(b'"home"', b'"homes"'), "resources.home"),
    ],
)
def test_another_form_is_refused_and_not_guessed_at(text: bytes, why: str) -> None:
    with pytest.raises(UnknownForm, match=why.replace("?", ".")):
        handover.decode(text)


def test_settings_of_another_version_are_refused() -> None:
    with pytest.raises(UnknownForm, match="keys that this version does not know"):
        upgrade.settings_of(an_offer(settings={"speed": 1}))
    assert upgrade.settings_of(an_offer()) == Settings()


@pytest.mark.parametrize("text", ["", "x", "-1", "999999"])
def test_a_variable_that_names_no_document_is_refused(text: str) -> None:
    environ = {upgrade.VARIABLE: text}
    with pytest.raises(StartRefused, match="cannot be read"):
        upgrade.taken(environ)
    assert not environ
    assert upgrade.taken({}) is None


@pytest.fixture
def left() -> Iterator[Handover]:
    """What a process could have been left that has one child, and sockets and files of its own."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as lock:
        unix = handover.HandedUnix(ours.fileno(), "/x", -1)
        resources = handover.HandedResources(
            lock.fileno(), (), None, unix, unix, (lock.fileno(),), None, "1.2"
        )
        worker = handover.HandedChild(
            slot=0,
            region=0,
            pid=child.pid,
            fd=theirs.fileno(),
            state="serving",
            started_unix=0.0,
            started_s=0.0,
            has_spoken=True,
            is_mute=False,
            kill_by_s=None,
            restarts=0,
            generation=0,
            unread="",
            unsent="",
        )
        yield an_offer(children=(worker,), resources=resources)
    child.kill()
    child.wait()


def take(offer: Handover) -> Handover | None:
    """As a program that finds this document."""
    fd = os.memfd_create("offer")
    os.write(fd, handover.encode(offer))
    try:
        return upgrade.taken({upgrade.VARIABLE: str(fd)})
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def test_what_this_process_was_left_is_taken(left: Handover) -> None:
    assert take(left) == left


@pytest.mark.parametrize(
    "pid",
    [os.getppid(), os.getpid(), 1, 0, -1, 1 << 40],
    ids=["the parent", "itself", "init", "0", "-1", "no pid"],
)
@pytest.mark.parametrize("ended", [None, False, True])
def test_another_document_never_makes_a_gateway_signal_who_is_not_its_child(
    left: Handover, pid: int, ended: bool | None
) -> None:
    if ended is None:
        (worker,) = left.children
        left = structs.replace(left, children=(structs.replace(worker, pid=pid),))
    elif not ended or pid <= 1:
        backend = handover.HandedBackend("b", "s", {}, pid, 1.0, 0.0, 0.0, False, None, ended)
        table = handover.HandedProcesses((backend,), (), ())
        left = structs.replace(left, processes=table)
    else:
        return  # only a group may be left of it
    with pytest.raises(StartRefused, match="was not left to this process"):
        take(left)


@pytest.mark.parametrize(
    "change",
    [{"fd": 999_999}, {"fd": -1}, {"fd": 1 << 40}, {"state": "asleep"}, {"unread": "!"}],
)
def test_a_document_with_a_child_that_cannot_be_is_refused(
    left: Handover, change: dict[str, Any]
) -> None:
    (worker,) = left.children
    with pytest.raises(StartRefused, match="was not left to this process"):
        take(structs.replace(left, children=(structs.replace(worker, **change),)))


def test_a_descriptor_that_is_no_socket_is_refused(left: Handover) -> None:
    (worker,) = left.children
    file = structs.replace(worker, fd=left.resources.lock)
    with pytest.raises(StartRefused, match="was not left to this process"):
        take(structs.replace(left, children=(file,)))


def test_a_program_that_cannot_be_executed_leaves_descriptors_as_they_were() -> None:
    reader, writer = os.pipe()
    try:
        children = (
            handover.HandedChild(
                *(None, None, 1, reader, "serving", 0.0, 0.0, True, False, None, 0, 0, "", ""),
            ),
        )
        unix = handover.HandedUnix(writer, "/x", -1)
        resources = handover.HandedResources(writer, (), None, unix, unix, (), None, "")
        before = os.listdir("/proc/self/fd")
        why = upgrade.replace_program(
            ["/no/such"], {}, an_offer(children=children, resources=resources)
        )
        assert why == "/no/such cannot be started: No such file or directory"
        assert os.listdir("/proc/self/fd") == before
        assert not os.get_inheritable(reader)
        assert not os.get_inheritable(writer)
    finally:
        os.close(reader)
        os.close(writer)


# -- the check

MAIN = """
import pathlib
from gateway.runtime import handover, upgrade
{}
raise SystemExit(upgrade.check({}, {}))
"""


def verdict(program: str, offer: Handover | None = None) -> Any:
    """What comes of a check by this program."""
    command = [sys.executable, "-c", program]
    check = upgrade.Check(command, offer or an_offer(), time.monotonic())
    return check.ended(os.waitstatus_to_exitcode(os.waitpid(check.pid, 0)[1]))


def checked(path: Path | None, offer: Handover | None = None, modules: str = "()") -> Any:
    where = None if path is None else f"pathlib.Path({str(path)!r})"
    return verdict(MAIN.format("", where, modules), offer)


def test_a_check_that_passes_gives_the_settings_as_the_new_program_reads_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("domain: a.test\ntransport: uvloop\ntimeouts: {drain: 7}")
    found = checked(path)
    settings = upgrade.settings_of(an_offer(settings=found.settings))
    assert (settings.domain, settings.transport, settings.timeouts.drain) == ("a.test", "uvloop", 7)
    assert checked(None).settings == orjson.loads(to_json(Settings()))


def test_all_reasons_against_a_program_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("domian: a.test\ntimeouts: {drain: -7}")
    found = checked(path, an_offer(settings={"speed": 1}), modules="['gateway.no_such', 'os']")
    assert found.settings is None
    module, *problems, keys = found.reasons
    assert module.startswith("gateway.no_such cannot be loaded: ModuleNotFoundError")
    assert [p.partition(": ")[2].partition(":")[0] for p in problems] == ["line 1", "line 2"]
    assert "keys that this version does not know" in keys


def test_a_change_that_needs_a_restart_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("workers: 3\nstore: 'memory:'")
    (reason,) = checked(path).reasons
    assert reason == f"{path}: a change of store, workers needs a restart of the gateway"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (MAIN.format("handover.FORMAT = 4", None, "()"), "in format 3, this version takes 4"),
        ("raise SystemExit(7)", "the check ended with 7"),
        ("print('yes')", "gave no settings"),
        ("import os; os.kill(os.getpid(), 9)", "the check ended with -9"),
        ("import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_a_program_that_says_no_or_nothing_is_not_taken(program: str, why: str) -> None:
    found = verdict(program)
    assert found.settings is None
    assert why in found.reasons[-1]


def test_a_check_that_takes_too_long_is_ended() -> None:
    begun_s = time.monotonic()
    check = upgrade.Check(
        [sys.executable, "-S", "-c", "input = open('/dev/zero').read()"], an_offer(), begun_s
    )
    os.kill(check.pid, signal.SIGSTOP)
    check.look(begun_s + upgrade.CHECK_S - 0.1)
    assert os.waitpid(check.pid, os.WNOHANG) == (0, 0)
    check.look(begun_s + upgrade.CHECK_S)
    found = check.ended(os.waitstatus_to_exitcode(os.waitpid(check.pid, 0)[1]))
    assert found.reasons == ("the check took longer than 30 s",)


# -- links in the middle of something


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.integers(1, 200))
@hypothesis_settings(deadline=None, max_examples=40)
def test_a_link_goes_on_in_the_middle_of_a_frame(texts: list[str], at: int) -> None:
    frames = b"".join(encode({"t": text}) for text in texts)
    ours, theirs = socket.socketpair()
    with theirs:
        former = Link(ours)
        theirs.sendall(frames[:at])
        heard = former.receive()
        unread, unsent = former.leftover()
        assert unsent == b""
        successor = Link(socket.socket(fileno=os.dup(former.fileno())), unread=unread)
        former.close()
        theirs.sendall(frames[at:])
        if at < len(frames):
            heard += successor.receive()
        assert [message["t"] for message in heard] == texts
        successor.close()


def test_what_a_link_could_not_send_is_sent_by_its_successor() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        former = Link(ours)
        sent = [{"t": "x" * 100_000, "n": n} for n in range(20)]
        for message in sent:
            former.send(message)
        assert former.wants_write
        unread, unsent = former.leftover()
        successor = Link(
            socket.socket(fileno=os.dup(former.fileno())), unread=unread, unsent=unsent
        )
        former.close()
        reader = Link(theirs.dup())
        heard: list[Any] = []
        while len(heard) < len(sent):
            successor.flush()
            heard += reader.receive()
        assert heard == sent
        assert not successor.wants_write
        successor.close()
        with pytest.raises(BrokenLink):
            reader.receive()
        reader.close()
