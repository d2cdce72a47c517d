"""The folder of an authority: keys that only its owner reads, each file whole at any time.

::

    ca.key ca.pem crl.pem            the authority and what it has revoked
    node/NODE.key node/NODE.pem      the newest of each node; likewise collector/ and broker/
    issued/NODE/SERIAL.pem           every certificate that a client was given, to revoke it by
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from meterhouse_collector.enroll.authority import (
    Identity,
    Role,
    issue,
    new_authority,
    read_identity,
    revoke,
)

_SECRET: Final = 0o600
_PUBLIC: Final = 0o644
_FOLDER: Final = 0o700


class Paths(NamedTuple):
    """Where a key and its certificate are."""

    key: Path
    certificate: Path


class Folder:
    """An authority on disk; a second command waits until the first is done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certificate = path / "ca.pem"
        self.revocations = path / "crl.pem"
        self._key = path / "ca.key"

    def make(self, *, now: datetime, days: int) -> Identity:
        """Make the authority, which has revoked nothing; raise ``OSError``, also if there is one.

        The key comes last: where it is, all of it is.
        """
        self.path.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        with self._locked():
            if self._key.exists():
                raise FileExistsError(f"{self._key} exists: an authority is made once")
            authority = new_authority(now=now, days=days)
            _write(self.certificate, authority.certificate_pem(), _PUBLIC)
            _write(self.revocations, _pem(revoke(authority, None, (), now=now)), _PUBLIC)
            _write(self._key, authority.key_pem(), _SECRET)
        return authority

    def paths(self, role: Role, name: str) -> Paths:
        """Return where a key and its certificate are, or will be."""
        return Paths(self.path / role / f"{name}.key", self.path / role / f"{name}.pem")

    def enroll(self, role: Role, name: str, *, renew: bool, now: datetime, days: int) -> Identity:
        """Make a key and a certificate; what is there is replaced only where ``renew`` says so.

        Raises ``ValueError`` for a name or days that cannot be, and ``OSError``.
        """
        paths = self.paths(role, name)
        with self._locked():
            made = issue(self._authority(), role, name, now=now, days=days)
            # The key may have gone to its machine; the certificate says that there is one.
            there = [path for path in paths if path.exists()]
            if there and not renew:
                raise FileExistsError(
                    f"{there[0]} exists: --renew makes a new key and certificate in its place"
                )
            if renew and not there:
                raise FileNotFoundError(f"{paths.key} is not there: there is nothing to renew")
            if role != "broker":
                # First: a certificate that is nowhere could never be revoked.
                serial = f"{made.certificate.serial_number:x}.pem"
                _write(self._issued(name) / serial, made.certificate_pem(), _PUBLIC)
            _write(paths.key, made.key_pem(), _SECRET)
            _write(paths.certificate, made.certificate_pem(), _PUBLIC)
        return made

    def revoke(self, name: str, *, now: datetime) -> int:
        """Put every certificate of a client on the list; return how many were not on it yet.

        Raises ``OSError``, also where the client was never given one, and ``ValueError``.
        """
        with self._locked():
            found = self._issued(name)
            serials = [int(path.stem, 16) for path in sorted(found.glob("*.pem"))]
            if not serials:
                raise FileNotFoundError(f"{name}: {self.path} has given it no certificate")
            before = x509.load_pem_x509_crl(self.revocations.read_bytes())
            after = revoke(self._authority(), before, serials, now=now)
            _write(self.revocations, _pem(after), _PUBLIC)
        return len(after) - len(before)

    def _issued(self, name: str) -> Path:
        return self.path / "issued" / name

    def _authority(self) -> Identity:
        try:
            return read_identity(self._key.read_bytes(), self.certificate.read_bytes())
        except FileNotFoundError as error:
            text = f"{error.filename} is not there: --new-ca makes an authority"
            raise FileNotFoundError(text) from None
        except ValueError as error:
            raise ValueError(f"authority in {self.path}: {error}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, _SECRET)
        except FileNotFoundError:
            text = f"{self.path} is not there: --new-ca makes an authority"
            raise FileNotFoundError(text) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _pem(revocations: x509.CertificateRevocationList) -> bytes:
    return revocations.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is whole at any time, and never more readable than its mode says."""
    path.parent.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as writer:
            writer.write(data)
            writer.flush()
            os.fchmod(writer.fileno(), mode)
            os.fsync(writer.fileno())
        Path(made).replace(path)
    except OSError:
        Path(made).unlink(missing_ok=True)
        raise
