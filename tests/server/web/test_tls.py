"""The self-signed certificate: names, reuse, renewal, and a real handshake with it."""

import datetime as dt
import json
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from rollcast.server.web.tls import default_state_dir, own_names, self_signed

from ..running import running


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_is_an_elliptic_curve_certificate_for_the_names(tmp_path: Path) -> None:
    cert_path, key_path = self_signed(tmp_path, ["localhost", "192.168.1.9"])
    cert = load(cert_path)
    key = cert.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.168.1.9"]
    assert key_path.stat().st_mode & 0o777 == 0o600


def test_it_is_kept_while_it_is_good(tmp_path: Path) -> None:
    first, _ = self_signed(tmp_path, ["localhost", "a.test"])
    serial = load(first).serial_number
    self_signed(tmp_path, ["a.test"])
    assert load(first).serial_number == serial
    self_signed(tmp_path, ["b.test"])
    assert load(first).serial_number != serial


def test_it_is_renewed_before_it_ends(tmp_path: Path) -> None:
    first, _ = self_signed(tmp_path, ["localhost"], valid_for=dt.timedelta(days=20))
    serial = load(first).serial_number
    self_signed(tmp_path, ["localhost"])
    assert load(first).serial_number != serial


@pytest.mark.parametrize("broken", ["self-signed.crt", "self-signed.key"])
def test_a_broken_file_is_replaced(tmp_path: Path, broken: str) -> None:
    cert_path, _ = self_signed(tmp_path, ["localhost"])
    serial = load(cert_path).serial_number
    (tmp_path / broken).write_text("garbage")
    self_signed(tmp_path, ["localhost"])
    assert load(cert_path).serial_number != serial


def test_own_names() -> None:
    assert {"localhost", "127.0.0.1", "10.1.2.3"} <= set(own_names("10.1.2.3"))
    assert "0.0.0.0" not in own_names("0.0.0.0")


def test_the_state_directory_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_state_dir() == tmp_path / "state" / "rollcast"


async def test_a_stream_over_tls_with_a_self_signed_certificate(tmp_path: Path) -> None:
    async with running(self_signed=True, state_dir=tmp_path) as server:
        trust = ssl.create_default_context(cafile=str(tmp_path / "self-signed.crt"))
        async with connect(server.ws, ssl=trust) as socket:
            await socket.send(json.dumps({"type": "hello", "versions": [1], "codecs": ["jpeg"]}))
            assert json.loads(await socket.recv())["type"] == "hello"


async def test_a_given_certificate_is_used(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, ["127.0.0.1"])
    async with running(tls_cert=cert, tls_key=key) as server:
        trust = ssl.create_default_context(cafile=str(cert))
        async with connect(server.ws, ssl=trust):
            assert server.ws.startswith("wss")


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_who_has_no_home_gets_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "home", no_home)
    cert, _ = self_signed(default_state_dir(), ["localhost"])
    assert cert.is_relative_to(tmp_path) and cert.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert default_state_dir().is_relative_to(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_state_dir() == tmp_path / "state" / "rollcast"
