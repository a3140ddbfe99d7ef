"""The doorbell: Dramatiq on Redis or Valkey. Messages carry a run's id and a shard's number, nothing else.

What is lost here is sent again from the database, so a message is acknowledged whatever comes of it, and none is
retried by Dramatiq. What cannot be a message of ours goes to the dead letters and harms no worker.
"""

import logging
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from api.jobs.backups import Keeper
from api.jobs.perform import Performer

logger = logging.getLogger("api.jobs")
NAMESPACE = "cashflow"
QUEUE = "shards"
BACKUPS = "backups"
# Actor -> what its messages carry: a run's id and a shard's number, or the id of a job of backups.
CARRIED: dict[str, tuple[type, ...]] = {"work_on_shard": (str, int), "work_on_backup": (str,)}
MAX_MESSAGE_BYTES = 4_096
SOCKET_SECONDS = 5.0
# Messages of a worker that died come back when another has not heard of it for so long; the database is quicker.
HEARTBEAT_MILLISECONDS = 20_000
DEAD_LETTERS = "cashflow:dead-letters"
MOST_DEAD_LETTERS = 1_000


class Doorbell(RedisBroker):
    """The broker; `fetch` hands over only what is a message of ours."""

    def do_fetch(self, queue_name: str, count: int) -> list[bytes]:
        """Messages from the queue; those that are malformed or too large are put with the dead letters."""
        fetched = self._dispatch("fetch")(queue_name, count)  # type: ignore[no-untyped-call]
        sound = [data for data in fetched if data is not None and self.is_sound(data)]
        for data in fetched:
            if data is not None and not self.is_sound(data):
                self.bury(queue_name, data)
        return sound

    def is_sound(self, data: bytes) -> bool:
        """Whether the bytes are a message that an actor of ours takes."""
        if len(data) > MAX_MESSAGE_BYTES:
            return False
        try:
            message = dramatiq.Message.decode(data)
            known = message.actor_name in self.actors and "redis_message_id" in message.options
            carried = CARRIED[message.actor_name]
            fits = all(isinstance(value, kind) for value, kind in zip(message.args, carried, strict=True))
            return known and fits and not message.kwargs
        except Exception:
            # Whatever a stranger wrote, it is no message.
            return False

    def bury(self, queue_name: str, data: bytes) -> None:
        """Puts what is no message with the dead letters: the last thousand, cut to a few kilobytes."""
        logger.error("a message that is none was put with the dead letters", extra={"bytes": len(data)})
        self.client.lpush(DEAD_LETTERS, data[:MAX_MESSAGE_BYTES])
        self.client.ltrim(DEAD_LETTERS, 0, MOST_DEAD_LETTERS - 1)
        for id, held in self.client.hscan_iter(f"{self.namespace}:{queue_name}.msgs"):
            if held == data:
                self.do_ack(queue_name, id)
                return


def doorbell(url: str) -> Doorbell:
    """The broker at an address. Timeouts keep a Redis that is silent from holding anybody up."""
    pool = redis.ConnectionPool.from_url(
        url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS, health_check_interval=30
    )
    broker = Doorbell(  # type: ignore[no-untyped-call]
        client=redis.Redis(connection_pool=pool),
        middleware=[],
        namespace=NAMESPACE,
        maintenance_chance=100_000,
        heartbeat_timeout=HEARTBEAT_MILLISECONDS,
        dead_message_ttl=7 * 24 * 3600 * 1000,
    )
    broker.declare_queue(QUEUE)
    broker.declare_queue(BACKUPS)
    return broker


def message(run_id: str, number: int) -> dramatiq.Message[Any]:
    """The message that rings for a shard."""
    return dramatiq.Message(queue_name=QUEUE, actor_name="work_on_shard", args=(run_id, number), kwargs={}, options={})


def ring(broker: Doorbell, found: list[tuple[str, int]]) -> None:
    """Sends a message for each shard; what fails is logged and sent again later from the database."""
    try:
        for run_id, number in found:
            broker.enqueue(message(run_id, number))
    except (redis.RedisError, OSError) as error:
        logger.warning("Redis took no message, which the database sends again later: %s", error)


def ring_for_backup(broker: Doorbell, job_id: str) -> None:
    """Sends a message for a job of backups; without it the job is found a few seconds later."""
    sent: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=BACKUPS, actor_name="work_on_backup", args=(job_id,), kwargs={}, options={}
    )
    try:
        broker.enqueue(sent)
    except (redis.RedisError, OSError) as error:
        logger.warning("Redis took no message for a job of backups: %s", error)


def depth(broker: Doorbell) -> int:
    """How many messages wait. Raises OSError where Redis cannot tell."""
    try:
        return int(broker.client.llen(f"{NAMESPACE}:{QUEUE}"))
    except redis.RedisError as error:
        raise OSError(f"Redis does not answer: {error}") from error


def declare(broker: Doorbell, performer: Performer, keeper: Keeper) -> None:
    """Declares the actors of the broker's messages."""

    def work_on_shard(run_id: str, number: int) -> None:
        performer.perform(run_id, number)

    def work_on_backup(job_id: str) -> None:
        keeper.wake()

    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="work_on_shard")(work_on_shard)
    dramatiq.actor(broker=broker, queue_name=BACKUPS, actor_name="work_on_backup")(work_on_backup)
