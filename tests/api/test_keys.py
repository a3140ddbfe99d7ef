"""Key sets: read again when a key is unknown or time has passed, kept while they cannot be read, asked for by https."""

import asyncio
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from api import keys
from api.errors import Refusal
from api.keys import KeySet, keys_of

ONE = ec.generate_private_key(ec.SECP256R1())


def document(*kids: str) -> bytes:
    jwk = ECAlgorithm.to_jwk(ONE.public_key(), as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": kid} for kid in kids]}).encode()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [{}]}', b"[" * 100_000])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        keys_of(content)


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="two keys of one kid"):
        keys_of(document("a", "a"))


async def kids(found: KeySet, kid: str) -> list[str | None]:
    return [key.kid for key in await found.candidates(kid)]


async def test_a_rotated_key_is_found_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(document("old"))
    found = KeySet(str(path), refresh=600)
    assert await kids(found, "old") == ["old"]
    path.write_bytes(document("old", "new"))
    # Not within the cool-down: unknown keys in tokens do not make the service read on and on.
    assert await kids(found, "new") == []
    monkeypatch.setattr(keys, "COOL_DOWN_SECONDS", 0)
    assert await kids(found, "new") == ["new"]
    assert await kids(found, "old") == ["old"]


async def test_a_withdrawn_key_is_gone_after_the_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COOL_DOWN_SECONDS", 0)
    path = tmp_path / "keys.json"
    path.write_bytes(document("old", "new"))
    found = KeySet(str(path), refresh=0)
    assert await kids(found, "old") == ["old"]
    path.write_bytes(document("new"))
    # The request that notices is served with the keys there are; the set is read beside it.
    assert await kids(found, "new") == ["new"]
    assert found.renewal is not None
    await found.renewal
    assert found.keys.keys() == {"new"}


async def test_the_keys_read_last_stay_while_the_set_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOL_DOWN_SECONDS", 0)
    path = tmp_path / "keys.json"
    path.write_bytes(document("one"))
    found = KeySet(str(path), refresh=600)
    assert await kids(found, "one") == ["one"]
    path.write_text("<html>Bad gateway</html>")
    assert await kids(found, "two") == []
    assert await kids(found, "one") == ["one"]


async def test_without_any_keys_the_answer_is_503_and_asked_for_once(tmp_path: Path) -> None:
    found = KeySet(str(tmp_path / "none.json"), refresh=600)
    outcomes = await asyncio.gather(*(found.candidates("x") for _ in range(20)), return_exceptions=True)
    assert [error.status for error in outcomes if isinstance(error, Refusal)] == [503] * 20


class Issuer(http.server.BaseHTTPRequestHandler):
    """An identity provider that publishes its keys, and counts how often they are asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/keys")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        # What is too large is read no further, so the writing may fail.
        try:
            self.wfile.write(document("web") if self.path == "/keys" else b" " * 2_000_000)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: requests are noted in `asked`."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an issuer by https on this machine, and the certificate that it is known by."""
    folder = tmp_path_factory.mktemp("issuer")
    certificate, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", certificate
    server.shutdown()
    server.server_close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, in files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(*form))
    return paths


async def test_keys_come_from_an_https_address_once(issuer: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(issuer[1]))
    Issuer.asked.clear()
    found = KeySet(f"{issuer[0]}/keys", refresh=600)
    answers = await asyncio.gather(*(kids(found, "web") for _ in range(10)))
    assert answers == [["web"]] * 10
    assert Issuer.asked == ["/keys"]


@pytest.mark.parametrize("path", ["/moved", "/large"])
async def test_redirects_and_endless_answers_are_no_key_sets(
    issuer: tuple[str, Path], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(issuer[1]))
    with pytest.raises(Refusal):
        await KeySet(issuer[0] + path, refresh=600).candidates("web")


async def test_an_issuer_whose_certificate_nobody_vouches_for_is_not_believed(issuer: tuple[str, Path]) -> None:
    with pytest.raises(Refusal):
        await KeySet(f"{issuer[0]}/keys", refresh=600).candidates("web")
