"""TLS for whoever knows the stages' secret, and for nobody else.

The secret itself is the authority: its key pair is made of it, so each process can issue itself a
certificate, and accepts none but those. There is no file to hand round, and a man in the middle,
who cannot issue one, is noticed by both sides in the handshake.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rollcast secret")])
_STAGE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rollcast stage")])
# No clock decides: the secret is valid for as long as somebody starts stages with it.
_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


@lru_cache(maxsize=4)
def server_context(key: bytes) -> ssl.SSLContext:
    """For the side that listens."""
    return _context(ssl.PROTOCOL_TLS_SERVER, key)


@lru_cache(maxsize=4)
def client_context(key: bytes) -> ssl.SSLContext:
    """For the side that connects."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, key)


def _context(protocol: int, key: bytes) -> ssl.SSLContext:
    authority = _Authority(key)
    certificate, private = authority.issue()
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # not the name counts, but who has signed
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate.decode())
    # ssl reads these from files only
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.touch(mode=0o600)
        path.write_bytes(private + certificate)
        context.load_cert_chain(path)
    return context


class _Authority:
    """Whoever has the secret can be it; its certificate is another one each time, its key never."""

    def __init__(self, key: bytes) -> None:
        # Slow on purpose: who guesses secrets has to do this for each.
        # Hashed before, for scrypt takes a key and that key with zeros behind it for the same.
        password = hashlib.sha256(key).digest()
        seed = hashlib.scrypt(password, salt=b"rollcast stages", n=1 << 14, r=8, p=1, dklen=32)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.certificate = self._sign(_AUTHORITY, self._private, ca=True)

    def issue(self) -> tuple[bytes, bytes]:
        """A certificate for this process and its private key (PEM)."""
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._sign(_STAGE, private, ca=False), pem

    def _sign(self, name: x509.Name, of: Ed25519PrivateKey, *, ca: bool) -> bytes:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(_AUTHORITY)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_FROM)
            .not_valid_after(_UNTIL)
            .add_extension(x509.BasicConstraints(ca, 0 if ca else None), critical=True)
            .sign(self._private, None)
        )
        return certificate.public_bytes(Encoding.PEM)
