"""The keys that tokens are checked with: secrets from the settings, or a key set (JWKS) from a file or an address.

Each key is bound to one algorithm, whatever a token says of itself. A token of a key set names its key by `kid`, which
is looked up among the keys read and nowhere else; keys or addresses inside tokens (jwk, jku, x5c, x5u) are never read.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread
import httpx
import jwt
import msgspec

from api.errors import Refusal
from api.settings import Settings

# By key type and curve; symmetric keys are no part of a key set that the world can read.
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
MIN_RSA_BITS = 2048
MAX_DOCUMENT_BYTES = 1024 * 1024
FETCH_SECONDS = 5.0
# An unknown kid asks for the set again, but no oftener than this: callers cannot make us call.
COOL_DOWN_SECONDS = 30.0
logger = logging.getLogger("api.keys")


class Key(msgspec.Struct, frozen=True):
    """A key, the algorithm it is for, and its id where it is one of a set."""

    algorithm: str
    value: Any
    kid: str | None = None


class Keys(Protocol):
    """Where the keys come from."""

    async def candidates(self, kid: str | None) -> Sequence[Key]:
        """The keys that a token with this `kid` may be signed with, none if it is unknown."""
        ...


class Secrets:
    """The secret and, while it is rotated, the one before; a kid says nothing about them."""

    def __init__(self, settings: Settings) -> None:
        given = (settings.jwt_secret, settings.jwt_secret_previous)
        self.keys = [Key("HS256", secret) for secret in given if secret]

    async def candidates(self, kid: str | None) -> Sequence[Key]:
        return self.keys


class Jwk(msgspec.Struct, frozen=True):
    """What a member of a set says of itself (RFC 7517); the numbers of the key are read by the library."""

    kty: str
    kid: str
    crv: str | None = None
    alg: str | None = None
    use: str = "sig"
    key_ops: tuple[str, ...] = ("verify",)
    d: str | None = None


def key_of(member: Any) -> Key | None:
    """The key of one member of a set, None for one that signs no tokens of ours."""
    try:
        jwk = msgspec.convert(member, Jwk)
        algorithm = ALGORITHMS.get((jwk.kty, jwk.crv))
        if algorithm is None or (jwk.alg or algorithm) != algorithm or jwk.use != "sig":
            return None
        # A private key does not belong where keys are published.
        if jwk.d is not None or "verify" not in jwk.key_ops:
            return None
        value = jwt.PyJWK(member, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and value.key_size < MIN_RSA_BITS:
        return None
    return Key(algorithm, value, jwk.kid)


def keys_of(document: bytes) -> dict[str, Key]:
    """The keys of a set by kid. Raises ValueError for a document that holds none, or two of one kid."""
    try:
        members = msgspec.json.decode(document)["keys"]
    except (msgspec.DecodeError, RecursionError, TypeError, KeyError) as error:
        raise ValueError('it is no key set; expected {"keys": [..]}') from error
    found = [key for key in map(key_of, members if isinstance(members, list) else []) if key is not None]
    if not found:
        raise ValueError("it has no key for RS256 (RSA of 2048 bits or more) or ES256 (P-256) with a kid")
    by_kid = {str(key.kid): key for key in found}
    if len(by_kid) < len(found):
        raise ValueError("it has two keys of one kid")
    return by_kid


class KeySet:
    """The keys of a set, kept for `refresh` seconds; while they cannot be read again, those read last stay."""

    def __init__(self, place: str, refresh: float) -> None:
        self.place, self.refresh = place, refresh
        self.keys: dict[str, Key] = {}
        self.read_at = self.tried_at = float("-inf")
        self.lock = asyncio.Lock()
        self.renewal: asyncio.Task[None] | None = None

    async def candidates(self, kid: str | None) -> Sequence[Key]:
        """The key of the kid. Raises Refusal (503) while no set has been read."""
        now = time.monotonic()
        if not self.keys or (kid is not None and kid not in self.keys):
            await self.renew()
        elif now - self.read_at > self.refresh and (self.renewal is None or self.renewal.done()):
            # Nobody waits for it: the keys there are serve on.
            self.renewal = asyncio.create_task(self.renew())
        if not self.keys:
            headers = {"retry-after": str(int(COOL_DOWN_SECONDS))}
            raise Refusal(503, "The keys that tokens are checked with cannot be read now.", headers=headers)
        key = self.keys.get(kid) if kid is not None else None
        return [key] if key is not None else []

    async def renew(self) -> None:
        """Reads the set again, once for all who wait, unless that was tried a moment ago."""
        async with self.lock:
            if time.monotonic() - self.tried_at < COOL_DOWN_SECONDS:
                return
            self.tried_at = time.monotonic()
            try:
                self.keys = keys_of(await self.document())
                self.read_at = time.monotonic()
            except (OSError, ValueError, httpx.HTTPError) as error:
                logger.warning("key set %s cannot be read: %s", self.place, error)

    async def document(self) -> bytes:
        """The bytes of the set. An address is asked itself: no redirect is followed."""
        if not self.place.startswith("https://"):
            return await anyio.to_thread.run_sync(Path(self.place).read_bytes)
        async with (
            httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as client,
            client.stream("GET", self.place, headers={"accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"it is answered with {response.status_code}")
            body = b""
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise ValueError(f"it is larger than {MAX_DOCUMENT_BYTES:,} bytes")
            return body


def keys_from(settings: Settings) -> Keys:
    """The keys that the settings name."""
    return KeySet(settings.jwt_jwks, settings.jwt_jwks_refresh) if settings.jwt_jwks else Secrets(settings)
