"""Media types that schemathesis does not know: MessagePack as it is written and read."""

from typing import Any

import msgspec
import schemathesis

PACKED = ("application/msgpack", "application/vnd.msgpack")


def packable(value: Any) -> Any:
    """A value whose whole numbers end where the 64 bits of MessagePack do."""
    if isinstance(value, dict):
        return {key: packable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [packable(inner) for inner in value]
    return min(max(value, -(2**63)), 2**64 - 1) if type(value) is int else value


@schemathesis.serializer(*PACKED)
def written(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.msgpack.encode(packable(value), enc_hook=str)


@schemathesis.deserializer(*PACKED)
def read(_: Any, response: Any) -> Any:
    return msgspec.msgpack.decode(response.content)
