"""What the environment of a child process says of memory."""

from __future__ import annotations

from gateway.runtime.boot import VARIABLE, AdminFds, ControlBoot, WorkerBoot, environment

WORKER = WorkerBoot(3, 4, 0, 5, "link", is_control_up=True, listeners=())
CONTROL = ControlBoot(3, 4, 5, AdminFds(None, 6), (7,), 0)


def test_a_worker_keeps_memory_that_the_next_body_needs() -> None:
    found = environment(WORKER, {"PATH": "/bin"})
    read_at_once = 256 * 1024
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) > 2 * read_at_once
    assert int(found["MALLOC_MMAP_THRESHOLD_"]) > 2 * read_at_once
    assert found["PATH"] == "/bin"
    assert VARIABLE in found


def test_what_the_operator_says_of_memory_has_precedence() -> None:
    found = environment(WORKER, {"MALLOC_TRIM_THRESHOLD_": "131072"})
    assert found["MALLOC_TRIM_THRESHOLD_"] == "131072"


def test_programs_that_the_control_process_starts_inherit_nothing_of_it() -> None:
    assert environment(CONTROL, {"PATH": "/bin"}).keys() == {"PATH", VARIABLE}
