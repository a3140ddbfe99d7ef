"""Quotas: no stretch of time sees more than the limit, Redis counts as memory does, and its failures have an answer."""

import asyncio
import signal
import time
from copy import deepcopy
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from api import quotas
from api.errors import Refusal
from api.quotas import SLOTS, Limiter, Memory, Quota, Shared
from api.settings import Settings
from tests.servers import Valkey, valkey_server

HOUR = Quota("user", 100, 3600)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_hour_has_a_hundred_requests_and_then_a_wait() -> None:
    clock = Clock()
    memory = Memory(clock)
    counts = [memory.take(HOUR, "ada", 1) for _ in range(300)]
    assert [count.allowed for count in counts] == [True] * 100 + [False] * 200
    assert [count.left for count in counts[:3]] == [99, 98, 97]
    assert counts[-1].retry == counts[-1].reset == 3600
    clock.now += 3599.9
    assert memory.take(HOUR, "ada", 1).retry == 1
    clock.now += 0.2
    assert memory.take(HOUR, "ada", 1).allowed


def test_callers_do_not_take_from_each_other_nor_users_from_addresses() -> None:
    memory = Memory(Clock())
    assert memory.take(HOUR, "ada", 100).allowed
    assert not memory.take(HOUR, "ada", 1).allowed
    assert memory.take(HOUR, "bob", 100).allowed
    assert memory.take(Quota("address", 100, 3600), "ada", 100).allowed


def test_a_clock_that_is_turned_back_holds_up_only_what_was_used_before() -> None:
    clock = Clock()
    memory, minute = Memory(clock), Quota("user", 5, 60)
    assert memory.take(minute, "ada", 2).allowed
    clock.now -= 3600
    # The two stay counted until it is past their time once more; the other three are forgotten after a minute.
    for _ in range(4):
        counts = [memory.take(minute, "ada", 1) for _ in range(4)]
        assert [count.allowed for count in counts] == [True, True, True, False]
        assert [count.reset for count in counts] == [60] * 4
        clock.now += 61
    clock.now += 3600
    assert memory.take(minute, "ada", 5).allowed


def test_a_cost_that_does_not_fit_takes_nothing_and_says_when_it_will() -> None:
    clock = Clock()
    memory = Memory(clock)
    memory.take(HOUR, "ada", 30)
    clock.now += 600
    memory.take(HOUR, "ada", 60)
    refused = memory.take(HOUR, "ada", 50)
    # The first thirty and ten left are not enough, so it is the sixty that have to be forgotten.
    assert (refused.allowed, refused.left) == (False, 10)
    assert refused.retry == refused.reset + 600
    assert memory.take(HOUR, "ada", 10).allowed


def test_what_is_given_back_can_be_taken_again() -> None:
    memory = Memory(Clock())
    slot = memory.take(HOUR, "ada", 100).slot
    memory.give_back(HOUR, "ada", slot)
    memory.give_back(HOUR, "ada", slot - 1)
    assert memory.take(HOUR, "ada", 1).allowed
    assert not memory.take(HOUR, "ada", 1).allowed


def test_the_callers_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_CALLERS", 3)
    memory = Memory(Clock())
    for who in ("a", "b", "c", "a", "d"):
        memory.take(HOUR, who, 1)
    assert [who for _, who in memory.used] == ["c", "a", "d"]


@given(
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 4)), max_size=80),
    limit=st.integers(1, 12),
    window=st.integers(1, 90),
)
def test_no_stretch_as_long_as_the_window_sees_more_than_the_limit(
    steps: list[tuple[float, int]], limit: int, window: int
) -> None:
    clock, quota = Clock(), Quota("user", limit, window)
    memory = Memory(clock)
    taken: list[tuple[float, int]] = []
    for pause, cost in steps:
        clock.now += pause
        count = memory.take(quota, "ada", cost)
        if count.allowed:
            taken.append((clock.now, cost))
        # A slot's rounding up to whole milliseconds, and the slot itself.
        longest = (SLOTS + 1) * quota.width / 1000
        held = sum(cost for at, cost in taken if at > clock.now - window + 0.001)
        maybe = sum(cost for at, cost in taken if at > clock.now - longest - 0.001)
        assert held <= limit
        # It is refused only for what was taken within a window and a slot.
        assert count.allowed or maybe + cost > limit
        # Nobody is told to wait for longer than the window, and who waits so long gets in.
        assert max(count.retry, count.reset) <= window
        if not count.allowed and cost <= limit:
            later = Memory(lambda at=clock.now + count.retry + 0.001: at)
            later.used = deepcopy(memory.used)
            assert later.take(quota, "ada", cost).allowed


async def test_redis_counts_as_memory_does(valkey: Valkey) -> None:
    valkey.wipe()
    shared, memory, quota = Shared(valkey.url), Memory(), Quota("user", 10, 36_000)
    for cost in (1, 2, 4, 5, 3, 0, 1):
        ours, theirs = memory.take(quota, "ada", cost), await shared.take(quota, "ada", cost)
        assert (theirs.allowed, theirs.left) == (ours.allowed, ours.left)
        assert abs(theirs.reset - ours.reset) <= 1
        assert abs(theirs.retry - ours.retry) <= 1
    await shared.give_back(quota, "ada", theirs.slot)
    assert (await shared.take(quota, "ada", 0)).left == 1
    await shared.close()


async def test_redis_forgets_with_the_window(valkey: Valkey) -> None:
    valkey.wipe()
    shared, quota = Shared(valkey.url), Quota("user", 3, 1)
    counts = [await shared.take(quota, "ada", 1) for _ in range(4)]
    assert [count.allowed for count in counts] == [True, True, True, False]
    client = redis.Redis.from_url(valkey.url)
    (key,) = client.keys("cashflow:quota:*")
    assert b"ada" not in key
    assert 0 < client.pttl(key) <= 1000 * quota.window
    assert counts[3].retry == 1
    await asyncio.sleep(1.1)
    assert (await shared.take(quota, "ada", 1)).left == 2
    # What is gone is not made anew by giving it back.
    client.flushdb()
    await shared.give_back(quota, "ada", counts[0].slot)
    assert client.keys("*") == []
    await shared.close()


async def test_many_at_once_on_several_connections_get_exactly_the_limit(valkey: Valkey) -> None:
    valkey.wipe()
    limiters = [Limiter(Settings(redis_url=valkey.url)) for _ in range(4)]
    takes = [limiter.take(limiter.user, "ada") for limiter in limiters for _ in range(75)]
    assert sum(count.allowed for count in await asyncio.gather(*takes)) == 100
    for limiter in limiters:
        await limiter.close()


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """The address of a Redis that is not there any more."""
    with valkey_server(tmp_path, own=True) as server:
        return server.url


async def test_open_counts_in_each_process_while_redis_fails(broken: str) -> None:
    limiter = Limiter(Settings(redis_url=broken, rate_limit_requests=5))
    counts = [await limiter.take(limiter.user, "ada") for _ in range(8)]
    assert [count.allowed for count in counts] == [True] * 5 + [False] * 3
    await limiter.give_back(limiter.user, "ada", counts[0])
    assert (await limiter.take(limiter.user, "ada")).allowed
    await limiter.close()


async def test_closed_refuses_with_503_while_redis_fails(broken: str) -> None:
    limiter = Limiter(Settings(redis_url=broken, rate_limit_on_failure="closed"))
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            await limiter.take(limiter.user, "ada")
        assert caught.value.status == 503
        assert caught.value.headers["retry-after"] == "1"
    await limiter.close()


async def test_redis_counts_again_once_it_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "REDIS_SECONDS", 0.1)
    with valkey_server(tmp_path, own=True) as server:
        assert server.process is not None
        limiter = Limiter(Settings(redis_url=server.url))
        assert (await limiter.take(limiter.user, "ada")).shared
        server.process.send(signal.SIGSTOP)
        started = time.monotonic()
        assert not (await limiter.take(limiter.user, "ada")).shared
        # The next ones do not wait for it.
        assert not (await limiter.take(limiter.user, "ada")).shared
        assert limiter.failed_at >= started
        server.process.send(signal.SIGCONT)
        monkeypatch.setattr(quotas, "COOL_DOWN_SECONDS", 0)
        assert (await limiter.take(limiter.user, "ada")).shared
        await limiter.close()
