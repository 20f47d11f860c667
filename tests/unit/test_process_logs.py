"""The output of instances: read from where one was, bounded, harmless, and never lost on the way."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.providers.launching import logs
from admin.providers.launching.logs import BadCursor, LogPage, read_logs

OLD = 1_000_000_000.0
"""Long ago: nobody writes any more."""


class Output:
    """Files of instances under a folder, as the supervisor makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def file(self, service: str, port: int = 20000, application: str = "app") -> Path:
        self._count += 1
        path = logs.new_file(self.folder, application, service, port, OLD + self._count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return path

    def read(
        self, lines: int = 100, after: str | None = None, service: str | None = None
    ) -> LogPage:
        return read_logs([self.folder], "app", service, lines, after)

    def texts(self, lines: int = 100, after: str | None = None) -> list[str]:
        return [text for _, _, text in self.read(lines, after).entries]


def write(path: Path, text: str | bytes, *, is_old: bool = False) -> None:
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    if is_old:
        os.utime(path, (OLD, OLD))


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "logs")


def test_lines_come_with_service_and_instance(output: Output) -> None:
    write(output.file("web-v1", 20000), "one\ntwo\n")
    write(output.file("web-v1", 20001), "three\n")
    write(output.file("db", 20002), "four\n")
    write(output.file("web", 20002, "other"), "not ours\n")
    assert output.read().entries == [
        ("db", "db@127.0.0.1:20002", "four"),
        ("web-v1", "web-v1@127.0.0.1:20000", "one"),
        ("web-v1", "web-v1@127.0.0.1:20000", "two"),
        ("web-v1", "web-v1@127.0.0.1:20001", "three"),
    ]
    assert [e[2] for e in output.read(service="db").entries] == ["four"]
    assert output.read(service="none").entries == []
    assert read_logs([output.folder / "nowhere"], "app", None, 10, None).entries == []


def test_the_last_lines_are_given_with_a_fair_part_for_each_instance(output: Output) -> None:
    loud, quiet = output.file("loud"), output.file("quiet")
    write(loud, "".join(f"{n}\n" for n in range(1000)))
    write(quiet, "a\nb\n")
    assert output.texts(6) == ["996", "997", "998", "999", "a", "b"]
    assert output.texts(2) == ["999", "b"]
    assert output.texts(0) == []


def test_a_cursor_continues_where_the_last_page_ended(output: Output) -> None:
    first = output.file("web")
    write(first, "1\n2\n3\n")
    page = output.read(2)
    assert output.texts(100, page.cursor) == []
    write(first, "4\n5\n6\n")
    write(output.file("web", 20001), "new\n")
    page = output.read(2, page.cursor)
    assert [e[2] for e in page.entries] == ["4", "5"]
    page = output.read(2, page.cursor)
    assert [e[2] for e in page.entries] == ["6", "new"]
    assert output.read(2, page.cursor).entries == []


def test_a_line_without_an_end_waits_for_it_unless_nobody_writes(output: Output) -> None:
    file = output.file("web")
    write(file, "one\ntw")
    page = output.read()
    assert [e[2] for e in page.entries] == ["one"]
    write(file, "o\n")
    page = output.read(after=page.cursor)
    assert [e[2] for e in page.entries] == ["two"]
    write(file, "last words", is_old=True)
    page = output.read(after=page.cursor)
    assert [e[2] for e in page.entries] == ["last words"]
    assert output.read(after=page.cursor).entries == []
    assert output.texts()[-1] == "last words"


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bnVsbA", "eyJhIjotMX0", "eyJhIjoiYiJ9", "é"])
def test_a_cursor_that_is_none_is_refused(output: Output, cursor: str) -> None:
    with pytest.raises(BadCursor):
        output.read(after=cursor)


def test_what_was_written_cannot_harm_who_reads_it(output: Output) -> None:
    file = output.file("web")
    write(file, b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \xff\xfe \xe2\x80\xae\r\n")
    write(file, "x" * 100_000 + "\n\ttab é\n")
    first, long, tab = output.texts()
    assert first == "red \\x1b]0;title\\x07 \ufffd\ufffd \\u202e"
    assert len(long) == logs.LINE_MAX
    assert tab == "\ttab é"
    assert logs.tail(file, 3)[-1] == "\ttab é"


def test_a_tail_is_the_last_lines_with_what_has_no_end(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write(file, "".join(f"line {n}\n" for n in range(5000)) + "end")
    assert logs.tail(file, 3) == ("line 4998", "line 4999", "end")
    assert len(logs.tail(file, 10_000)) < 1000
    assert logs.tail(tmp_path / "none", 3) == ()
    assert logs.tail(tmp_path, 3) == ()


# --- keeping files small ------------------------------------------------------------------------


def test_a_file_that_is_too_long_loses_its_older_half_at_a_line(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write(file, "".join(f"{n:09}\n" for n in range(1000)))
    assert not logs.trim(file, 10_000)
    assert logs.trim(file, 9_999)
    head, *rest = file.read_text().splitlines()
    assert head == f"-- {10_000 - len(rest) * 10} bytes of older output are gone --"
    assert rest == [f"{n:09}" for n in range(1000 - len(rest), 1000)]
    assert 480 <= len(rest) <= 500
    assert not logs.trim(tmp_path / "none", 1)


def test_a_program_goes_on_writing_into_a_file_that_is_trimmed(tmp_path: Path) -> None:
    file = tmp_path / "x"
    with open(file, "ab", buffering=0) as program:
        for n in range(5000):
            program.write(b"%09d\n" % n)
            if n % 100 == 0:
                logs.trim(file, 8192)
        assert file.stat().st_size < 10_000
    assert file.read_text().splitlines()[-1] == "000004999"
    assert "\0" not in file.read_text()


def test_one_endless_line_is_trimmed_too(tmp_path: Path) -> None:
    file = tmp_path / "x"
    write(file, "x" * 100_000)
    assert logs.trim(file, 8192)
    assert file.stat().st_size < 8192


@given(
    st.lists(
        st.one_of(st.integers(1, 60), st.just("trim"), st.just("read")), min_size=1, max_size=60
    )
)
@settings(deadline=None, max_examples=60)
def test_a_reader_that_follows_misses_nothing_but_what_went_before_it_came(
    steps: list[int | str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Output(Path(folder))
        file = output.file("web")
        written, seen, kept_from = 0, 0, 0
        cursor = output.read().cursor
        for step in steps:
            if isinstance(step, int):
                write(file, "".join(f"{n:049}\n" for n in range(written, written + step)))
                written += step
            elif step == "trim" and logs.trim(file, 4096):
                lines = file.read_text().splitlines()
                kept_from = int(lines[1]) if len(lines) > 1 else written
            elif step == "read":
                page = output.read(1000, cursor)
                numbers = [int(e[2]) for e in page.entries]
                assert numbers == list(range(max(seen, kept_from), written))
                cursor, seen = page.cursor, written


def test_many_writers_and_a_trimmer_at_once_leave_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.touch()
    is_over = threading.Event()

    def trim() -> None:
        while not is_over.is_set():
            logs.trim(file, 16_384)

    thread = threading.Thread(target=trim)
    thread.start()
    try:
        with open(file, "ab", buffering=0) as program:
            for n in range(3000):
                program.write(b"%049d\n" % n)
    finally:
        is_over.set()
        thread.join()
    lines = file.read_text().splitlines()[1:]
    numbers = [int(line) for line in lines]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 2900  # what is written in the instant of a cut may be lost


# --- keeping files few -----------------------------------------------------------------------


def test_the_newest_files_of_a_service_are_kept_and_those_in_use(output: Output) -> None:
    files = [output.file("web", 20000 + n) for n in range(15)]
    logs.prune_files(output.folder, "app", "web", {files[0].absolute()})
    left = [file for file in files if file.exists()]
    assert left == [files[0], *files[-(logs.FILES_KEPT - 1) :]]


def test_services_that_are_long_gone_are_forgotten_the_oldest_first(output: Output) -> None:
    folders = []
    for n in range(logs.SERVICES_KEPT + 5):
        folders.append(output.file(f"web-v{n}").parent)
        os.utime(folders[-1], (OLD + n, OLD + n))
    live = output.file("web-v0").absolute()
    os.utime(live.parent, (OLD, OLD))
    logs.keep_small(output.folder, {live}, 4096)
    assert [f.name for f in folders if not f.exists()] == [f"web-v{n}" for n in range(1, 5)]


def test_names_are_single_steps_of_a_path(tmp_path: Path) -> None:
    for name in ("..", ".", "a/b", "../../x", "é", "a\0b"):
        path = logs.new_file(tmp_path, name, name, 1, OLD)
        assert path.parent.parent.parent == tmp_path
        assert "\0" not in str(path)
    assert logs.new_file(tmp_path, "a", "web-v1.2", 1, OLD).parent.name == "web-v1.2"
