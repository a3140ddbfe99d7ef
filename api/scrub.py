"""Takes secrets out of what leaves the process: log lines and what Sentry is sent."""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

SCRUBBED = "[scrubbed]"
# A setting with one of these in its name is a secret, and so is the value of such a key in anything that is told.
SECRET_WORDS = (
    "secret",
    "password",
    "passwd",
    "private_key",
    "api_key",
    "apikey",
    "access_key",
    "encryption_key",
    "credential",
    "dsn",
)
KEPT_HEAD = rf"\1{SCRUBBED}"
MORE_SECRET_KEYS = r"authorization|cookie|passphrase|\btoken\b|_token\b|-token\b|x-sentry-auth"
SECRET_KEYS = re.compile("|".join((*SECRET_WORDS, MORE_SECRET_KEYS)), re.IGNORECASE)
# What gives a secret away by its form: three parts of a JWT, a scheme with its credentials, a password in an address, a
# parameter of an address, a PEM block.
PATTERNS = [
    (re.compile(r"eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*"), SCRUBBED),
    (re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE), rf"\1\2{SCRUBBED}"),
    (re.compile(r"(\w[\w+.-]*://[^\s/:@]*:)[^\s@]+(@)"), rf"\1{SCRUBBED}\2"),
    (re.compile(r"((?:token|password|secret|api_key|signature|X-Amz-[a-z]+)=)[^&\s\"']+", re.IGNORECASE), KEPT_HEAD),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), SCRUBBED),
]
# A text in which none of these occurs matches no pattern.
SIGN_TEXTS = (
    "eyj", "bearer", "basic", "://", "token=", "password=", "secret=", "api_key=", "signature=", "x-amz-", "private",
)  # fmt: skip
SIGNS = re.compile("|".join(SIGN_TEXTS), re.IGNORECASE)
# Shorter values occur in innocent texts.
SHORTEST = 6
NUMBERS = frozenset({int, float, bool})
DEEPEST = 12
MOST_KEYS = 1024


def forms(secret: str) -> set[str]:
    """A secret as it stands and as it looks within JSON, an address, a repr and base64."""
    raw = secret.encode()
    encoded = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    quoted = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return {secret, quote(secret, safe="")} | encoded | quoted


def passwords_in(value: str) -> set[str]:
    """The password in an address, if it has one, as written and as meant."""
    try:
        password = urlsplit(value).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def secrets_of(settings: Any) -> set[str]:
    """The values in settings that nobody may read: those of secret names, and passwords within addresses."""
    found: set[str] = set()
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []:
            if isinstance(text, str):
                found |= passwords_in(text)
                # An id and a colon may stand before a key.
                found |= {text, text.partition(":")[2]} if any(word in name for word in SECRET_WORDS) else set()
    return {secret for secret in found if len(secret) >= SHORTEST}


@lru_cache(maxsize=4096)
def names_a_secret(key: str) -> bool:
    """Whether the value under this key is a secret, by the key's name."""
    return SECRET_KEYS.search(key) is not None


class Scrubber:
    """Takes known secrets, and what looks like one, out of texts and nested values."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {form for secret in secrets for form in forms(secret) if len(form) >= SHORTEST}
        self.keys: dict[str, str] = {}
        self.plain_keys: set[str] = set()
        # The longest first: one secret may begin with another.
        ordered = sorted(known, key=len, reverse=True)
        self.secrets = tuple(ordered)
        self.known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        if len(text) < SHORTEST:
            return text
        if self.known is not None:
            text = self.known.sub(SCRUBBED, text)
        if SIGNS.search(text):
            for pattern, replacement in PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def is_clean(self, event: Mapping[str, Any]) -> bool:
        """Whether a flat event shows at one look that there is nothing to take out; nested ones do not."""
        texts = []
        for key, value in event.items():
            if type(value) is str:
                texts.append(value)
            elif value is not None and type(value) not in NUMBERS:
                return False
            if key not in self.plain_keys and not self.is_plain_key(key):
                return False
        return self.is_plain("\n".join(texts))

    def is_plain_key(self, key: str) -> bool:
        """Whether a key neither names a secret nor shows one; those that do not are remembered."""
        if type(key) is not str or self.is_secret(key) or not self.is_plain(key):
            return False
        # The same few dozen come again and again.
        if len(self.plain_keys) < MOST_KEYS:
            self.plain_keys.add(key)
        return True

    def is_plain(self, text: str) -> bool:
        """Whether plain search finds no known secret and no sign of one in a text."""
        # Letters beyond ASCII may be signs in another case.
        if not text.isascii():
            return False
        low = text.lower()
        for sign in SIGN_TEXTS:
            if sign in low:
                return False
        return all(secret not in text for secret in self.secrets)

    def value(self, value: Any, depth: int = 0) -> Any:
        """The value without secrets in it, at any depth; other kinds of object as their text."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= DEEPEST:
            return SCRUBBED
        if isinstance(value, Mapping):
            return {self.key(key): self.member(key, inner, depth) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            # Headers and the like come as pairs.
            if len(value) == 2 and isinstance(value, list | tuple) and self.is_secret(value[0]):
                return [value[0], SCRUBBED]
            return [self.value(inner, depth + 1) for inner in value]
        if isinstance(value, bytes):
            return self.text(value.decode("utf-8", "replace"))
        return self.text(str(value))

    def member(self, key: Any, inner: Any, depth: int) -> Any:
        return SCRUBBED if self.is_secret(key) and inner not in (None, "") else self.value(inner, depth + 1)

    def key(self, key: Any) -> Any:
        if not isinstance(key, str):
            return key
        found = self.keys.get(key)
        if found is None:
            found = self.text(key)
            # The same few dozen come again and again.
            if len(self.keys) < MOST_KEYS:
                self.keys[key] = found
        return found

    @staticmethod
    def is_secret(key: Any) -> bool:
        name = key.decode("latin-1") if isinstance(key, bytes) else key
        return isinstance(name, str) and len(name) < 64 and names_a_secret(name)
