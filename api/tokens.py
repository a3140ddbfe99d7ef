"""Tokens (JWT, by RFC 8725): what is asked of one, and who its bearer is."""

import hashlib
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, get_args

import jwt
import msgspec

from api.errors import Refusal
from api.keys import Key, Keys, Secrets
from api.settings import Role, Settings

MAX_TOKEN_BYTES = 8 * 1024
MAX_SUBJECT = 255
# Tokens that held and are not checked anew; the oldest make room.
MOST_HELD = 4096
REQUIRED = ("exp", "iat", "sub", "iss", "aud")
TYPES = ("jwt", "at+jwt", "application/at+jwt")
# Each role may do what those before it may.
ROLES: tuple[Role, ...] = get_args(Role)


class Caller(msgspec.Struct, frozen=True):
    """Who sends a request: the subject of the token, its role, when it expires."""

    subject: str
    role: Role
    expires: float
    claims: dict[str, Any]

    def may(self, role: Role) -> bool:
        """Whether the caller has a role, or one above it."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def lasts(self, settings: Settings) -> float:
        """Seconds for which the token is still taken."""
        return self.expires + settings.jwt_leeway - time.time()


def unauthorized(detail: str, presented: bool = False) -> Refusal:
    error = ', error="invalid_token"' if presented else ""
    return Refusal(401, detail, headers={"www-authenticate": f'Bearer realm="cashflow"{error}'})


def refused(why: object) -> Refusal:
    return unauthorized(f"The token is refused: {why}.", presented=True)


def issue_token(settings: Settings, subject: str, lifetime: timedelta, role: Role | None = "analyst") -> str:
    """A token for `subject`, signed with the secret and valid from now for `lifetime`; without a role it names none."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": subject,
        "iat": now,
        "exp": now + int(lifetime.total_seconds()),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
    }
    if role is not None:
        place = claims
        *parents, last = settings.jwt_roles_claim.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = [role]
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")


class Held(msgspec.Struct, frozen=True):
    """A token that was checked: its bearer, its kid and the key that had signed it."""

    caller: Caller
    kid: Any
    key: Key


class Tokens:
    """Checks tokens against the keys of the settings.

    Those that held are kept by their digest, since checking one costs more than a small projection. What can change is
    looked at each time: whether the token has expired, and whether its key is still one of those that count.
    """

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.settings, self.keys = settings, keys
        self.held: dict[bytes, Held] = {}

    async def caller(self, token: str) -> Caller:
        """The bearer of a token. Raises Refusal: 401 if anything is wrong with it, 503 while there are no keys."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self.held.get(digest)
        if known is not None:
            keys = await self.keys.candidates(known.kid)
            if int(known.caller.expires) > time.time() - self.settings.jwt_leeway and any(
                key is known.key for key in keys
            ):
                return known.caller
            self.held.pop(digest, None)
        header = header_of(token)
        kid = header.get("kid")
        caller, key = checked(token, header, await self.keys.candidates(kid), self.settings)
        while len(self.held) >= MOST_HELD:
            self.held.pop(next(iter(self.held)))
        self.held[digest] = Held(caller, kid, key)
        return caller


def verify(settings: Settings, token: str) -> Caller:
    """The bearer of a token that is signed with a secret of the settings. Raises Refusal (401)."""
    return checked(token, header_of(token), Secrets(settings).keys, settings)[0]


def header_of(token: str) -> dict[str, Any]:
    """The header of a token, read before any key is chosen. Raises Refusal (401)."""
    if len(token) > MAX_TOKEN_BYTES:
        raise refused(f"it has {len(token):,} bytes; at most {MAX_TOKEN_BYTES:,} are read")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise refused("its header cannot be read") from error
    # Extensions that must be understood are not; an unencoded payload is one.
    if "crit" in header or header.get("b64") is False:
        raise refused("its header asks for extensions")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise refused("its type is not JWT")
    return header


def checked(token: str, header: dict[str, Any], keys: Sequence[Key], settings: Settings) -> tuple[Caller, Key]:
    """The bearer of a token that one of the keys has signed, and that key."""
    fitting = [key for key in keys if key.algorithm == header.get("alg")]
    if not fitting:
        raise refused("no key of ours has its kid and algorithm")
    for key in fitting:
        try:
            return caller_of(decoded(token, key, settings), settings), key
        except jwt.InvalidSignatureError as error:
            wrong = error
    raise refused(wrong)


def decoded(token: str, key: Key, settings: Settings) -> dict[str, Any]:
    """The claims of a token. Raises InvalidSignatureError for another key's, Refusal (401) for all else."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.value,
            algorithms=[key.algorithm],
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.jwt_leeway,
            options={"require": list(REQUIRED)},
        )
    except jwt.InvalidSignatureError:
        raise
    except jwt.PyJWTError as error:
        raise refused(error) from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise refused("its claims cannot be read") from error
    return claims


def caller_of(claims: dict[str, Any], settings: Settings) -> Caller:
    """The bearer that claims name, held to more than the library asks. Raises Refusal (401)."""
    for name in ("exp", "iat"):
        value = claims[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise refused(f"its {name} is no time")
    subject = claims["sub"]
    if not isinstance(subject, str) or not subject.strip():
        raise refused("its subject is empty")
    # It owns rows and stands in logs.
    if len(subject) > MAX_SUBJECT or not subject.isprintable():
        raise refused(f"its subject is no printable text of at most {MAX_SUBJECT} characters")
    return Caller(subject, role_of(claims, settings), float(claims["exp"]), claims)


def role_of(claims: dict[str, Any], settings: Settings) -> Role:
    """The highest role that claims name, the default where the claim is absent.

    The claim is a name or a path with dots (`realm_access.roles`); its value a list, or a text with spaces between.
    Raises Refusal: 403 where it names none of ours, 401 where it is neither.
    """
    claim = settings.jwt_roles_claim
    found: Any = claims
    for name in [claim] if claim in claims else claim.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return settings.jwt_default_role
    names = found.split() if isinstance(found, str) else found
    if not isinstance(names, list):
        raise refused(f"its {claim} is no list of roles")
    held = [role for role in ROLES if role in names]
    if not held:
        raise Refusal(403, f"The token's {claim} names no role of {', '.join(ROLES)}.")
    return held[-1]
