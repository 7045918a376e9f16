"""A self-signed certificate for a server on a local network, kept until it nears its end.

Browsers give microphones and video decoders only to secure pages, so an avatar on another
machine needs https. Keeping the certificate keeps the exception that a user made for it.
"""

from __future__ import annotations

import atexit
import datetime as dt
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=30)


def self_signed(
    directory: Path, names: Iterable[str], valid_for: dt.timedelta = VALID_FOR
) -> tuple[Path, Path]:
    """Paths of a certificate (EC P-256) and its key for these host names and addresses.

    Made anew, for `valid_for`, when there is none, when a name is missing in it, or when it ends
    soon. The key is readable by its owner only.
    """
    cert_path, key_path = directory / "self-signed.crt", directory / "self-signed.key"
    wanted = {_general_name(name) for name in names}
    if not _usable(cert_path, key_path, wanted):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(key_path, _key_pem(key))
        cert = _certificate(key, wanted, valid_for)
        cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    return cert_path, key_path


def own_names(host: str) -> list[str]:
    """Names under which this machine may be reached when it binds `host`."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    if host in ("0.0.0.0", "::", ""):
        names.extend(filter(None, [_outgoing_address()]))
    else:
        names.append(host)
    return list(dict.fromkeys(names))


def default_state_dir() -> Path:
    """Where a user's programs keep what they make, after the XDG base directories.

    Who has no home, or one that cannot be written, as in a container, gets a private folder that
    goes with the process.
    """
    base = os.environ.get("XDG_STATE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".local" / "state") / "rollcast"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass  # no home, or one where nothing may be made
    own = tempfile.mkdtemp(prefix="rollcast-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return Path(own)


def _outgoing_address() -> str | None:
    """The address of the interface that routes to the network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usable(cert_path: Path, key_path: Path, wanted: set[x509.GeneralName]) -> bool:
    if not (cert_path.is_file() and key_path.is_file()):
        return False
    try:
        cert = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        names = set(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound):
        return False
    fresh = cert.not_valid_after_utc - RENEW_BEFORE > dt.datetime.now(dt.UTC)
    return fresh and wanted <= names and key.public_key() == cert.public_key()


def _certificate(
    key: ec.EllipticCurvePrivateKey, names: set[x509.GeneralName], valid_for: dt.timedelta
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rollcast self-signed")])
    now = dt.datetime.now(dt.UTC)
    ordered = sorted(names, key=lambda name: str(name.value))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectAlternativeName(ordered), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
