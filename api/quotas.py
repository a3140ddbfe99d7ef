"""Counts of what each caller has used of a quota: in the memory of one process, or on Redis for all of them.

A window is cut into sixty slots, each with what was used in it and when last. It counts until that last use is a window
old: no stretch of time as long as the window ever sees more than the limit, and nobody waits longer than the window.
An earlier request of the slot counts up to a sixtieth longer for it.
"""

import logging
import math
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Literal

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.errors import Refusal
from api.settings import Settings

SLOTS = 60
# Callers that one process remembers; beyond them the one seen longest ago is forgotten.
MAX_CALLERS = 100_000
REDIS_SECONDS = 0.5
CONNECTIONS = 32
# After a failure Redis is left alone for so long, so that not every request waits for it.
COOL_DOWN_SECONDS = 1.0
logger = logging.getLogger("api.quotas")

# The arithmetic of `counted`, in one step for all processes and by the clock of Redis.
SCRIPT = """
local width, window, limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slot = math.floor(now / width)
local counts, lasts, live, used, stored = {}, {}, {}, 0, redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local name, value = stored[i], tonumber(stored[i + 1])
  if string.sub(name, 1, 5) == 'last:' then lasts[string.sub(name, 6)] = value else counts[name] = value end
end
for name, count in pairs(counts) do
  if lasts[name] <= now - window then
    redis.call('HDEL', KEYS[1], name, 'last:' .. name)
  else
    live[#live + 1] = {tonumber(name), count, lasts[name]}
    used = used + count
  end
end
local allowed = used + cost <= limit
if allowed and cost > 0 then
  local name = string.format('%d', slot)
  redis.call('HINCRBY', KEYS[1], name, cost)
  redis.call('HSET', KEYS[1], 'last:' .. name, string.format('%d', now))
  redis.call('PEXPIRE', KEYS[1], window)
  live[#live + 1] = {slot, cost, now}
end
table.sort(live, function(a, b) return a[1] < b[1] end)
local answer = {allowed and 1 or 0, slot, now}
for _, pair in ipairs(live) do
  for _, number in ipairs(pair) do answer[#answer + 1] = number end
end
return answer
"""
# A slot may be gone before its cost is given back; nothing is made anew then.
GIVE_BACK = """
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') > 0 then
  redis.call('HINCRBY', KEYS[1], ARGV[1], -1)
end
"""


class Quota(msgspec.Struct, frozen=True):
    """So much in so many seconds; the name is what the headers call it."""

    name: Literal["user", "address"]
    limit: int
    window: int

    @property
    def width(self) -> int:
        """Milliseconds of a slot."""
        return math.ceil(1000 * self.window / SLOTS)


class Count(msgspec.Struct, frozen=True):
    """Whether a cost was taken and in which slot; what is left, and in how many seconds there is more.

    reset: until the oldest of what is counted is forgotten. retry: until a cost that was refused fits. shared: whether
    Redis has counted.
    """

    allowed: bool
    left: int
    slot: int
    reset: int
    retry: int
    shared: bool = False


def until_forgotten(quota: Quota, last: int, now: int) -> int:
    """Whole seconds until what was used last at `last` is a window old."""
    return max(1, math.ceil((last - now) / 1000) + quota.window)


def counted(quota: Quota, cost: int, allowed: bool, slot: int, now: int, live: list[tuple[int, int, int]]) -> Count:
    """The count of a caller whose use is `live`: slots, oldest first, what was used in each, and when last.

    Times are in milliseconds.
    """
    used = sum(count for _, count, _ in live)
    reset = until_forgotten(quota, live[0][2], now) if live else 0
    retry, over = 0, used + cost - quota.limit
    for _, count, last in live if not allowed else []:
        over -= count
        retry = until_forgotten(quota, last, now)
        if over <= 0:
            break
    return Count(allowed, max(0, quota.limit - used), slot, reset, retry)


class Used:
    """What a caller has used: slots in the order of time, each with its count and when it was last used; their total.

    Slots are looked at once when they begin and once when they are forgotten, not with every request.
    """

    __slots__ = ("slots", "total")

    def __init__(self) -> None:
        self.slots: dict[int, tuple[int, int]] = {}
        self.total = 0

    def forget(self, until: int) -> None:
        """Drops the slots last used at `until` or before."""
        while (slot := next(iter(self.slots), None)) is not None and self.slots[slot][1] <= until:
            self.total -= self.slots.pop(slot)[0]

    def add(self, slot: int, cost: int, now: int) -> None:
        turned_back = slot not in self.slots and next(reversed(self.slots), slot) > slot
        self.slots[slot] = (self.slots.get(slot, (0, 0))[0] + cost, now)
        self.total += cost
        if turned_back:
            # The clock was: what was used before must not keep what is used now from being forgotten.
            self.slots = dict(sorted(self.slots.items()))


class Memory:
    """Counts of this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.used: dict[tuple[str, str], Used] = {}

    def take(self, quota: Quota, who: str, cost: int) -> Count:
        """Takes a cost if it fits."""
        now = int(1000 * self.clock())
        # Put at the end again: the first is the one seen longest ago.
        used = self.used.pop((quota.name, who), None) or Used()
        self.used[quota.name, who] = used
        if len(self.used) > MAX_CALLERS:
            del self.used[next(iter(self.used))]
        used.forget(now - 1000 * quota.window)
        slot = now // quota.width
        if used.total + cost > quota.limit:
            live = [(at, count, last) for at, (count, last) in used.slots.items()]
            return counted(quota, cost, False, slot, now, live)
        if cost:
            used.add(slot, cost, now)
        first = next(iter(used.slots.values()), None)
        reset = 0 if first is None else until_forgotten(quota, first[1], now)
        return Count(True, quota.limit - used.total, slot, reset, 0)

    def give_back(self, quota: Quota, who: str, slot: int) -> None:
        """Undoes a cost of one that was taken in a slot."""
        used = self.used.get((quota.name, who))
        if used is not None and (found := used.slots.get(slot)) is not None and found[0] > 0:
            used.add(slot, -1, found[1])


class Shared:
    """Counts on Redis, exact whatever the number of processes. Its methods raise RedisError or OSError."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=2,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            # Once more for a connection that a restart of Redis has cut.
            retry=Retry(NoBackoff(), 1),
        )
        self.redis: Any = Redis(connection_pool=pool)
        self.script = self.redis.register_script(SCRIPT)
        self.given_back = self.redis.register_script(GIVE_BACK)

    @staticmethod
    def key(quota: Quota, who: str) -> str:
        # Of one length, and without the names of callers in Redis. The 2 is the form of what is kept there.
        return f"cashflow:quota:2:{quota.name}:{sha256(who.encode()).hexdigest()[:32]}"

    async def take(self, quota: Quota, who: str, cost: int) -> Count:
        """Takes a cost if it fits."""
        arguments = [quota.width, 1000 * quota.window, quota.limit, cost]
        allowed, slot, now, *found = await self.script(keys=[self.key(quota, who)], args=arguments)
        live = list(zip(found[::3], found[1::3], found[2::3], strict=True))
        return msgspec.structs.replace(counted(quota, cost, bool(allowed), slot, now, live), shared=True)

    async def give_back(self, quota: Quota, who: str, slot: int) -> None:
        """Undoes a cost of one that was taken in a slot."""
        await self.given_back(keys=[self.key(quota, who)], args=[slot])

    async def close(self) -> None:
        await self.redis.aclose()


class Limiter:
    """The two quotas of the service: of a user, and of an address while no token of it has been accepted."""

    def __init__(self, settings: Settings) -> None:
        requests, window = settings.rate_limit_requests, settings.rate_limit_window
        self.enabled = settings.rate_limit_enabled
        self.user, self.address = Quota("user", requests, window), Quota("address", requests, window)
        self.closed = settings.rate_limit_on_failure == "closed"
        self.memory = Memory()
        self.shared = Shared(settings.redis_url) if settings.redis_url and self.enabled else None
        self.failed_at = float("-inf")

    async def take(self, quota: Quota, who: str, cost: int = 1) -> Count:
        """Takes a cost if it fits. Raises Refusal (503) while Redis fails and the limiter is to close then."""
        if self.shared is not None and time.monotonic() - self.failed_at > COOL_DOWN_SECONDS:
            try:
                return await self.shared.take(quota, who, cost)
            except (RedisError, OSError) as error:
                self.failed(error)
        if self.shared is not None and self.closed:
            text = "Requests cannot be counted now, and are refused until they can."
            raise Refusal(503, text, headers={"retry-after": "1"})
        return self.memory.take(quota, who, cost)

    async def give_back(self, quota: Quota, who: str, count: Count) -> None:
        """Undoes a count of one where it was made; what Redis does not hear of is forgotten with the window."""
        if self.shared is None or not count.shared:
            self.memory.give_back(quota, who, count.slot)
            return
        try:
            await self.shared.give_back(quota, who, count.slot)
        except (RedisError, OSError) as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        self.failed_at = time.monotonic()
        what = "requests are refused" if self.closed else "each process counts for itself"
        logger.warning("Redis does not count requests (%s): %s", type(error).__name__, what)

    async def close(self) -> None:
        """Closes the connections to Redis."""
        if self.shared is not None:
            await self.shared.close()
