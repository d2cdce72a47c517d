"""Mosquitto with the very files of ``deploy/mosquitto``, and certificates that live for a test."""

import ssl
import subprocess
from pathlib import Path
from typing import Final

from tests.servers import Mosquitto, Port, binary

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
NODES: Final = ("node-a", "node-b")
USERS: Final = ("collector", *NODES)
COLLECTOR: Final = "collector"


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder; fail with what it printed."""
    command = [binary("openssl"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def make_authority(folder: Path, name: str) -> None:
    """Make an authority: ``NAME.pem`` and ``NAME.key``."""
    extensions = ("-addext", "keyUsage=critical,keyCertSign")
    self_signed = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    files = ("-noenc", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl(folder, *self_signed, *files, "-subj", f"/CN={name}", *extensions)


def make_certificate(folder: Path, authority: str, name: str, file: str = "") -> None:
    """Make a certificate for a name, and for the loopback: ``FILE.pem`` and ``FILE.key``."""
    file = file or name
    openssl(
        folder,
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
        *("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", f"{file}.key", "-out", f"{file}.pem"),
    )


def password_of(user: str) -> str:
    """Return the password of a user."""
    return f"password-of-{user}"


class Broker(Mosquitto):
    """The broker as deployed: only paths and ports are other ones."""

    def __init__(self, folder: Path) -> None:
        certificates = folder / "certs"
        certificates.mkdir(parents=True)
        self._second = Port()
        self.certificate_port = self._second.number
        super().__init__(folder, self._configuration(folder))
        for authority in ("nodes-ca", "broker-ca", "other-ca"):
            make_authority(certificates, authority)
        make_certificate(certificates, "broker-ca", "broker")
        make_certificate(certificates, "other-ca", "node-a", "foreign")
        for user in USERS:
            make_certificate(certificates, "nodes-ca", user)
        passwords = folder / "meterhouse.passwords"
        passwords.touch(mode=0o600)
        for user in USERS:
            command = [binary("mosquitto_passwd"), "-b", str(passwords), user, password_of(user)]
            subprocess.run(command, check=True, capture_output=True)

    def _configuration(self, folder: Path) -> str:
        text = (DEPLOY / "mosquitto/mosquitto.conf").read_text(encoding="utf-8")
        acl = DEPLOY / "mosquitto/acl"
        for found, put in (
            ("acl_file /etc/mosquitto/meterhouse.acl", f"acl_file {acl}"),
            ("/etc/mosquitto/", f"{folder}/"),
            ("listener 8883", "listener {port} 127.0.0.1"),
            ("listener 8884", f"listener {self.certificate_port} 127.0.0.1"),
        ):
            assert found in text
            text = text.replace(found, put)
        return text

    def tls(self, certificate: str | None = None) -> ssl.SSLContext:
        """Return what a client trusts, and shows where it has a certificate."""
        folder = self.folder / "certs"
        context = ssl.create_default_context(cafile=folder / "broker-ca.pem")
        if certificate is not None:
            context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
        return context

    def close(self) -> None:
        """Kill the broker and give its ports back."""
        super().close()
        self._second.release()
