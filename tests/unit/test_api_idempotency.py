"""A change sent twice with one key happens once; the store of answers stays small."""

from __future__ import annotations

import asyncio

import pytest

from admin.api import idempotency
from admin.api.idempotency import AGE_MAX_S, ENTRIES_MAX, Answer, Answers, read_key
from gateway.core.errors import Code, Refused

KEY = ("k", "token:ci", "PUT", "/x")


class Act:
    def __init__(self, size: int = 3, error: BaseException | None = None) -> None:
        self.times = 0
        self.size = size
        self.error = error
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self) -> Answer:
        self.times += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return Answer(200, {}, b"x" * self.size)


def test_the_same_request_gets_the_first_answer() -> None:
    async def main() -> None:
        answers, act = Answers(lambda: 0.0), Act()
        first, kept = await answers.once(KEY, b"body", act)
        assert not kept
        assert await answers.once(KEY, b"body", act) == (first, True)
        assert act.times == 1

    asyncio.run(main())


def test_other_callers_and_other_paths_have_keys_of_their_own() -> None:
    async def main() -> None:
        answers, act = Answers(lambda: 0.0), Act()
        for key in (KEY, ("k", "token:other", "PUT", "/x"), ("k", "token:ci", "PUT", "/y")):
            await answers.once(key, b"body", act)
        assert act.times == 3

    asyncio.run(main())


def test_a_key_used_for_another_body_is_refused() -> None:
    async def main() -> None:
        answers, act = Answers(lambda: 0.0), Act()
        await answers.once(KEY, b"body", act)
        with pytest.raises(Refused) as caught:
            await answers.once(KEY, b"other", act)
        assert caught.value.code is Code.INVALID
        assert caught.value.errors[0].field == "header.Idempotency-Key"
        assert act.times == 1

    asyncio.run(main())


def test_two_at_the_same_time_are_one() -> None:
    async def main() -> None:
        answers, act = Answers(lambda: 0.0), Act()
        act.go_on.clear()
        both = [asyncio.create_task(answers.once(KEY, b"body", act)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        act.go_on.set()
        assert [kept for _, kept in await asyncio.gather(*both)] == [False, True]
        assert act.times == 1

    asyncio.run(main())


def test_a_refused_change_may_be_tried_again() -> None:
    async def main() -> None:
        answers = Answers(lambda: 0.0)
        for error in (Refused(Code.IN_USE, "no"), OSError()):
            with pytest.raises(type(error)):
                await answers.once(KEY, b"body", Act(error=error))
        assert (await answers.once(KEY, b"body", Act()))[1] is False

    asyncio.run(main())


def test_who_waits_for_a_call_that_fails_tries_itself() -> None:
    async def main() -> None:
        answers, first, second = Answers(lambda: 0.0), Act(error=OSError()), Act()
        first.go_on.clear()
        tasks = [asyncio.create_task(answers.once(KEY, b"body", a)) for a in (first, second)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], OSError)
        assert second.times == 1

    asyncio.run(main())


def test_who_waits_for_a_call_that_was_cancelled_tries_itself() -> None:
    async def main() -> None:
        answers, first, second = Answers(lambda: 0.0), Act(), Act()
        first.go_on.clear()
        one = asyncio.create_task(answers.once(KEY, b"body", first))
        await asyncio.sleep(0)
        two = asyncio.create_task(answers.once(KEY, b"body", second))
        await asyncio.sleep(0)
        one.cancel()
        assert (await two)[1] is False
        assert second.times == 1

    asyncio.run(main())


def test_answers_are_forgotten_by_age_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        now = 0.0
        answers = Answers(lambda: now)
        await answers.once(KEY, b"body", Act())
        now = AGE_MAX_S + 1
        assert (await answers.once(KEY, b"other", Act()))[1] is False
        for n in range(ENTRIES_MAX + 5):
            await answers.once((str(n),), b"", Act(1))
        assert len(answers) == ENTRIES_MAX
        await answers.once(("big",), b"", Act(idempotency.BYTES_MAX))
        assert len(answers) == 1
        await answers.once(("bigger",), b"", Act(idempotency.BYTES_MAX + 1))
        assert len(answers) == 0

    asyncio.run(main())


@pytest.mark.parametrize("text", ["", "a" * 256, "ä", "a\tb", "\x7f"])
def test_keys_are_short_and_printable(text: str) -> None:
    with pytest.raises(Refused):
        read_key(text)
    assert read_key("8e03978e-40d5-43dd-bc93-6894a57f9324")
