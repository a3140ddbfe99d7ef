"""Attacks on tokens (RFC 8725 and beyond): each is 401 at the running service; honest tokens beside them pass."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from litestar import Litestar
from litestar.testing import TestClient

from api import keys as keys_module
from api import tokens as tokens_module
from api.app import create_app
from api.errors import Refusal
from api.keys import KeySet, keys_from
from api.settings import Settings
from api.tokens import Tokens

Client = TestClient[Litestar]
SECRET = "signs the tokens of the service: 32 bytes and more"
PREVIOUS = "signed them until yesterday: 32 bytes and more too"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
NEXT_EC = ec.generate_private_key(ec.SECP256R1())
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are accepted, but for the changes; None leaves a claim out."""
    now = int(time.time())
    whole = {"sub": "eve", "iat": now, "exp": now + 60, "iss": "cashflow", "aud": "cashflow-api", "roles": ["admin"]}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: Any, payload: Any, secret: str | bytes = SECRET, sign: bool = True) -> str:
    """A token made by hand, so that no library refuses to write it; texts stand for themselves."""
    texts = [part if isinstance(part, (str, bytes)) else json.dumps(part) for part in (header, payload)]
    signing = ".".join(b64(text if isinstance(text, bytes) else text.encode()) for text in texts)
    key = secret.encode() if isinstance(secret, str) else secret
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signing.encode(), key)
    return f"{signing}.{b64(signature) if sign else ''}"


def hs256(header: dict[str, Any] | None = None, secret: str = SECRET, **changes: Any) -> str:
    return raw({"alg": "HS256", "typ": "JWT", **(header or {})}, claims(**changes), secret)


def swapped(token: str, part: int, value: str) -> str:
    parts = token.split(".")
    parts[part] = value
    return ".".join(parts)


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def signed(key: Any, kid: str | None, algorithm: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    named = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=named | (headers or {}))


def in_der(token: str) -> str:
    """A token with a signature of the right key in the form that certificates have it."""
    return swapped(token, 2, b64(EC.sign(token.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256()))))


NEST = "[" * 2500
AGAINST_SECRETS: dict[str, Callable[[], str]] = {
    "algorithm none": lambda: raw({"alg": "none"}, claims(), sign=False),
    "algorithm None in other letters": lambda: raw({"alg": "nOnE"}, claims(), sign=False),
    "algorithm none with a good signature": lambda: raw({"alg": "none"}, claims()),
    "no algorithm": lambda: raw({"typ": "JWT"}, claims()),
    "algorithm that is a list": lambda: raw({"alg": ["HS256"]}, claims()),
    "algorithm twice, none last": lambda: raw('{"alg":"HS256","alg":"none"}', claims(), sign=False),
    "HS512 with the right secret": lambda: jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "HS384 with the right secret": lambda: jwt.encode(claims(), SECRET, algorithm="HS384"),
    "RS256 with a key of its own": lambda: jwt.encode(claims(), RSA, algorithm="RS256"),
    "another secret": lambda: hs256(secret="guessed: 32 bytes and more, but not the one"),
    "an empty secret": lambda: hs256(secret=""),
    "no signature": lambda: raw({"alg": "HS256"}, claims(), sign=False),
    "a signature cut short": lambda: hs256()[:-3],
    "the signature of another token": lambda: swapped(hs256(), 2, hs256(sub="mallory").split(".")[2]),
    "claims changed after signing": lambda: swapped(hs256(), 1, b64(json.dumps(claims(sub="root")).encode())),
    "header changed after signing": lambda: swapped(hs256(), 0, b64(b'{"alg":"HS256","kid":"x"}')),
    "expired": lambda: hs256(exp=int(time.time()) - 60),
    "issued in the future": lambda: hs256(iat=int(time.time()) + 600),
    "not valid yet": lambda: hs256(nbf=int(time.time()) + 600),
    "no expiry": lambda: hs256(exp=None),
    "no issue time": lambda: hs256(iat=None),
    "no subject": lambda: hs256(sub=None),
    "no issuer": lambda: hs256(iss=None),
    "no audience": lambda: hs256(aud=None),
    "another issuer": lambda: hs256(iss="https://evil.example"),
    "issuers in a list": lambda: hs256(iss=["cashflow"]),
    "another audience": lambda: hs256(aud="another-api"),
    "audiences without ours": lambda: hs256(aud=["another-api", "cashflow-api-2"]),
    "an empty subject": lambda: hs256(sub=" "),
    "a subject that is a number": lambda: hs256(sub=0),
    "a subject that breaks lines": lambda: hs256(sub="eve\nadmin logged in"),
    "a subject without end": lambda: hs256(sub="e" * 300),
    "expiry as text": lambda: hs256(exp=str(10**10)),
    "expiry that is true": lambda: hs256(exp=True, iat=0),
    "expiry at infinity": lambda: raw({"alg": "HS256"}, json.dumps(claims(exp=7)).replace(": 7", ": 1e999")),
    "expiry that is no number": lambda: raw({"alg": "HS256"}, json.dumps(claims(exp=float("nan")))),
    "expiry of many digits": lambda: raw({"alg": "HS256"}, json.dumps(claims(exp=7)).replace(": 7", ": " + "9" * 5000)),
    "a key id that is a path": lambda: hs256({"kid": "../../../../dev/null"}, secret=""),
    "a key id that is SQL": lambda: hs256({"kid": "x' UNION SELECT 'k"}, secret="k"),
    "a key id that is no text": lambda: hs256({"kid": {"$ne": ""}}),
    "a key inside the token": lambda: jwt.encode(claims(), RSA, "RS256", headers={"jwk": public(RSA, "own")}),
    "an address of keys inside the token": lambda: jwt.encode(
        claims(), RSA, "RS256", headers={"jku": "https://evil.example/keys", "kid": "own"}
    ),
    "a certificate inside the token": lambda: jwt.encode(claims(), RSA, "RS256", headers={"x5c": [b64(PEM)]}),
    "an address of certificates": lambda: jwt.encode(claims(), RSA, "RS256", headers={"x5u": "file:///etc/passwd"}),
    "an extension that must be understood": lambda: hs256({"crit": ["exp"]}),
    "a payload outside the token": lambda: swapped(hs256({"b64": False, "crit": ["b64"]}), 1, ""),
    "another type": lambda: hs256({"typ": "logout+jwt"}),
    "more than 8 KB": lambda: hs256(pad="x" * 7000),
    "two parts": lambda: ".".join(hs256().split(".")[:2]),
    "four parts": lambda: hs256() + ".x",
    "five parts, as if encrypted": lambda: "..".join([b64(b'{"alg":"dir","enc":"A256GCM"}'), "a", "b"]),
    "a header that is a list": lambda: raw([], claims()),
    "a header that is no JSON": lambda: raw("{", claims()),
    "a header that is no base64": lambda: swapped(hs256(), 0, "!!!!"),
    "a header nested deeply": lambda: raw('{"alg":"HS256","x":' + NEST, claims()),
    "claims that are a list": lambda: raw({"alg": "HS256"}, [1]),
    "claims nested deeply": lambda: raw({"alg": "HS256"}, '{"x":' + NEST),
    "claims that are no text": lambda: raw({"alg": "HS256"}, b"\xff\xfe"),
    "roles that are an object": lambda: hs256(roles={"admin": True}),
    "roles that are a number": lambda: hs256(roles=1),
}
AGAINST_A_KEY_SET: dict[str, Callable[[], str]] = {
    "the public key as a secret": lambda: raw({"alg": "HS256", "kid": "rsa"}, claims(), PEM),
    "the modulus as a secret": lambda: raw({"alg": "HS256", "kid": "rsa"}, claims(), public(RSA, "x")["n"]),
    "the secret of the settings": lambda: hs256({"kid": "rsa"}),
    "the symmetric key of the set": lambda: hs256({"kid": "oct"}),
    "no key id": lambda: signed(RSA, None, "RS256"),
    "an unknown key id": lambda: signed(RSA, "gone", "RS256"),
    "the id of another key": lambda: signed(OTHER_RSA, "rsa", "RS256"),
    "an RSA key under the id of an EC key": lambda: signed(RSA, "ec", "RS256"),
    "an EC key under the id of an RSA key": lambda: signed(EC, "rsa", "ES256"),
    "RS512 with the key for RS256": lambda: signed(RSA, "rsa", "RS512"),
    "PS256 with the key for RS256": lambda: signed(RSA, "rsa", "PS256"),
    "a key too short": lambda: signed(WEAK_RSA, "weak", "RS256"),
    "a key for encryption": lambda: signed(OTHER_RSA, "enc", "RS256"),
    "a key for another algorithm": lambda: signed(OTHER_RSA, "rs512", "RS256"),
    "a key whose private half is published": lambda: signed(OTHER_RSA, "private", "RS256"),
    "an EC signature of zeros": lambda: swapped(signed(EC, "ec", "ES256"), 2, b64(bytes(64))),
    "an EC signature in DER": lambda: in_der(signed(EC, "ec", "ES256")),
    "an empty EC signature": lambda: swapped(signed(EC, "ec", "ES256"), 2, ""),
    "a key inside the token": lambda: signed(OTHER_RSA, "rsa", "RS256", {"jwk": public(OTHER_RSA, "rsa")}),
    "an address inside the token": lambda: signed(OTHER_RSA, "own", "RS256", {"jku": "https://evil.example/keys"}),
    "another audience": lambda: signed(EC, "ec", "ES256", aud="another-api"),
    "expired": lambda: signed(EC, "ec", "ES256", exp=int(time.time()) - 60),
}


@pytest.fixture(scope="module")
def secrets_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    state_dir = str(tmp_path_factory.mktemp("state"))
    settings = Settings(jwt_secret=SECRET, jwt_secret_previous=PREVIOUS, rate_limit_enabled=False, state_dir=state_dir)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def set_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service whose keys are a set of two good ones and of those that it has to leave aside."""
    members = [
        public(RSA, "rsa", use="sig", alg="RS256"),
        public(EC, "ec"),
        public(WEAK_RSA, "weak"),
        public(OTHER_RSA, "enc", use="enc"),
        public(OTHER_RSA, "rs512", alg="RS512"),
        {**RSAAlgorithm.to_jwk(OTHER_RSA, as_dict=True), "kid": "private", "key_ops": ["verify"]},
        {"kty": "oct", "kid": "oct", "k": b64(SECRET.encode())},
        {"kty": ["RSA"], "kid": 7},
        "no key",
    ]
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps({"keys": members}))
    settings = Settings(jwt_jwks=str(path), rate_limit_enabled=False, state_dir=str(path.parent))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def status(client: Client, token: str, path: str = "/schema/openapi.json") -> int:
    response = client.get(path, headers={"authorization": f"Bearer {token}"})
    if response.status_code == 401:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"].startswith("Bearer")
    return response.status_code


@pytest.mark.parametrize("attack", AGAINST_SECRETS)
def test_an_attack_on_a_secret_is_401(secrets_client: Client, attack: str) -> None:
    assert status(secrets_client, AGAINST_SECRETS[attack]()) == 401


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("attack", AGAINST_A_KEY_SET)
def test_an_attack_on_a_key_set_is_401(set_client: Client, attack: str) -> None:
    assert status(set_client, AGAINST_A_KEY_SET[attack]()) == 401


def test_two_tokens_are_401_even_if_both_hold(secrets_client: Client) -> None:
    headers = [("authorization", f"Bearer {hs256()}")] * 2
    assert secrets_client.get("/schema/openapi.json", headers=headers).status_code == 401


def test_honest_tokens_of_both_secrets_pass(secrets_client: Client) -> None:
    assert status(secrets_client, hs256()) == 200
    assert status(secrets_client, hs256(secret=PREVIOUS)) == 200
    assert status(secrets_client, hs256({"kid": "whatever the issuer calls it", "typ": "at+jwt"})) == 200
    assert status(secrets_client, hs256(aud=["another-api", "cashflow-api"])) == 200
    assert status(secrets_client, hs256(pad="x" * 5000)) == 200


def test_a_clock_that_is_off_by_less_than_the_leeway_is_forgiven(secrets_client: Client) -> None:
    assert status(secrets_client, hs256(exp=int(time.time()) - 20)) == 200
    assert status(secrets_client, hs256(iat=int(time.time()) + 20)) == 200


def test_honest_tokens_of_both_keys_of_a_set_pass(set_client: Client) -> None:
    assert status(set_client, signed(RSA, "rsa", "RS256")) == 200
    assert status(set_client, signed(EC, "ec", "ES256")) == 200
    # What a token says of where its key lies is not read, so it does no harm either.
    assert status(set_client, signed(EC, "ec", "ES256", {"jku": "https://evil.example/keys"})) == 200


def test_each_service_knows_only_its_own_kind_of_keys(secrets_client: Client, set_client: Client) -> None:
    assert status(secrets_client, signed(EC, "ec", "ES256")) == 401
    assert status(set_client, hs256()) == 401


def test_at_least_25_attacks_are_in_the_tables() -> None:
    assert len(AGAINST_SECRETS) + len(AGAINST_A_KEY_SET) >= 25


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (None, 200),
        (["reader"], 200),
        (["something", "analyst"], 200),
        ("openid reader", 200),
        (["Admin"], 403),
        ([], 403),
        ("", 403),
    ],
)
def test_a_token_names_a_role_of_ours_or_none_at_all(secrets_client: Client, roles: Any, expected: int) -> None:
    assert status(secrets_client, hs256(roles=roles)) == expected


def test_settings_take_one_kind_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="JWT_SECRET is set beside JWT_JWKS"):
        Settings(jwt_secret=SECRET, jwt_jwks=str(path)).check()
    for place in ("http://issuer.example/keys", "https://", str(tmp_path / "none.json")):
        with pytest.raises(ValueError, match="JWT_JWKS is"):
            msgspec.structs.replace(Settings(), jwt_jwks=place).check()


async def test_a_token_that_held_is_refused_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(jwt_secret=SECRET)
    tokens = Tokens(settings, keys_from(settings))
    token = jwt.encode(claims(exp=int(time.time()) + 60), SECRET, algorithm="HS256")
    first = await tokens.caller(token)
    assert await tokens.caller(token) is first
    later = time.time() + 60 + settings.jwt_leeway
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(tokens_module, "checked", refuse_all)
    with pytest.raises(Refusal, match="asked again"):
        await tokens.caller(token)


def refuse_all(*_: Any) -> Any:
    raise Refusal(401, "asked again")


async def test_a_token_that_held_is_refused_once_its_key_is_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "COOL_DOWN_SECONDS", 0)
    path = tmp_path / "keys.json"
    member = {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "a"}
    path.write_text(json.dumps({"keys": [member]}))
    settings = Settings(jwt_secret="", jwt_jwks=str(path), jwt_jwks_refresh=0)
    keys = KeySet(str(path), refresh=0)
    tokens = Tokens(settings, keys)
    token = jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "a"})
    assert (await tokens.caller(token)).subject == "eve"
    other = {**ECAlgorithm.to_jwk(NEXT_EC.public_key(), as_dict=True), "kid": "a"}
    path.write_text(json.dumps({"keys": [other]}))
    await keys.renew()
    with pytest.raises(Refusal, match="refused"):
        await tokens.caller(token)


async def test_a_token_that_differs_in_one_letter_is_checked_on_its_own() -> None:
    settings = Settings(jwt_secret=SECRET)
    tokens = Tokens(settings, keys_from(settings))
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    await tokens.caller(token)
    head, body, signature = token.split(".")
    for wrong in (f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}.", f"{head}.{body[:-1]}.{signature}"):
        with pytest.raises(Refusal):
            await tokens.caller(wrong)
    assert len(tokens.held) == 1


async def test_of_the_tokens_that_held_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "MOST_HELD", 3)
    settings = Settings(jwt_secret=SECRET)
    tokens = Tokens(settings, keys_from(settings))
    for name in "abcde":
        assert (await tokens.caller(jwt.encode(claims(sub=name), SECRET, algorithm="HS256"))).subject == name
    assert [held.caller.subject for held in tokens.held.values()] == ["c", "d", "e"]
