"""Certificates and revocations of a local authority, by RFC 5280; no file is touched here."""

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meterhouse_agent.wire import is_name

Role = Literal["node", "collector", "broker"]

COLLECTOR: Final = "collector"
AUTHORITY_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 397
# A clock that is a little behind must not take what is new for not yet valid.
_BACKDATED: Final = timedelta(hours=1)
_SECOND: Final = timedelta(seconds=1)
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST_CHARACTERS: Final = 253
_PURPOSES: Final = {
    "node": ExtendedKeyUsageOID.CLIENT_AUTH,
    "collector": ExtendedKeyUsageOID.CLIENT_AUTH,
    "broker": ExtendedKeyUsageOID.SERVER_AUTH,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def key_pem(self) -> bytes:
        """Return the key as PEM, not encrypted: a service has nobody to ask for a passphrase."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def read_identity(key_pem: bytes, certificate_pem: bytes) -> Identity:
    """Return an identity from PEM; raise ``ValueError`` where the two are no pair."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic-curve key")  # noqa: TRY004 - what is wrong is the file
    if certificate.public_key() != key.public_key():
        raise ValueError("key and certificate are no pair")
    return Identity(key, certificate)


def name_fault(role: Role, name: str) -> str | None:
    """Return what is wrong with a name for a certificate, None if nothing is."""
    if role == "broker":
        host = len(name) <= _HOST_CHARACTERS and all(map(_HOST.fullmatch, name.split(".")))
        if host or _address(name) is not None:
            return None
        return f"found {name!r}: a broker is a host name or an IP address"
    if not is_name(name):
        allowed = "a name has 1 to 63 of a-z, 0-9, _ and -, and begins with a-z or 0-9"
        return f"found {name!r}: {allowed}"
    if role == "node" and name == COLLECTOR:
        return f"found {name!r}: that user reads the reports of all: no node can have its name"
    return None


def new_authority(*, now: datetime, days: int = AUTHORITY_DAYS) -> Identity:
    """Make an authority that signs itself.

    Its name is its own: while one authority follows another, both are trusted, and OpenSSL looks
    for the issuer of a certificate by name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Meterhouse {secrets.token_hex(4)}")
    usage = _usage(signs=True)
    built = (
        _builder(name, name, key, now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Identity(key, built.sign(key, hashes.SHA256()))


def issue(
    authority: Identity, role: Role, name: str, *, now: datetime, days: int = CERTIFICATE_DAYS
) -> Identity:
    """Make a key and a certificate that is good for one role alone.

    The common name of a client is what the broker takes for its user; a broker is known by its
    subject alternative name. Raises ``ValueError`` for a name that none may have, and where the
    certificate would outlive its authority.
    """
    fault = name_fault(role, name)
    if fault is not None:
        raise ValueError(fault)
    end, last = now + timedelta(days=days), authority.certificate.not_valid_after_utc
    if end > last:
        raise ValueError(
            f"{days} days are too long: the authority itself ends on {last:%Y-%m-%d}: "
            "give fewer --days, or make a new authority"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("broker" if role == "broker" else name)
    built = (
        _builder(subject, authority.certificate.subject, key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_PURPOSES[role]]), critical=False)
        .add_extension(_authority_key(authority), critical=False)
    )
    if role == "broker":
        built = built.add_extension(_alternative_name(name), critical=False)
    return Identity(key, built.sign(authority.key, hashes.SHA256()))


def revoke(
    authority: Identity,
    before: x509.CertificateRevocationList | None,
    serials: Iterable[int],
    *,
    now: datetime,
) -> x509.CertificateRevocationList:
    """Return the list of revocations that follows the one before, with more serials on it.

    It ends with its authority: the broker has it as a file, and one that had run out would lock out
    every node. Raises ``ValueError`` where the list before is not of this authority.
    """
    number, begins = 0, now - _BACKDATED
    revoked: dict[int, x509.RevokedCertificate] = {}
    if before is not None:
        key = authority.certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not before.is_signature_valid(key):
            raise ValueError("the list of revocations is not signed by this authority")
        number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        # OpenSSL takes the later of two lists, and their times are whole seconds.
        begins = max(begins, before.last_update_utc + _SECOND)
        revoked = {each.serial_number: each for each in before}
    for serial in serials:
        if serial not in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            revoked[serial] = entry.build()
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(begins)
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(authority), critical=False)
    )
    for each in revoked.values():
        built = built.add_revoked_certificate(each)
    return built.sign(authority.key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end)
        .add_extension(identifier, critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(authority: Identity) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())


def _alternative_name(host: str) -> x509.SubjectAlternativeName:
    address = _address(host)
    return x509.SubjectAlternativeName(
        [x509.DNSName(host) if address is None else x509.IPAddress(address)]
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
