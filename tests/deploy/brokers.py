"""Mosquitto with the very files of ``deploy/mosquitto``, and an authority that lives for a test."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from meterhouse_collector.enroll.authority import Role
from meterhouse_collector.enroll.folder import Folder, Paths
from tests.servers import Mosquitto, Port, ServerError, binary

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
NODES: Final = ("node-a", "node-b")
COLLECTOR: Final = "collector"
USERS: Final = (COLLECTOR, *NODES)
ADDRESS: Final = "127.0.0.1"
DAYS: Final = 2
PATIENCE_SECONDS: Final = 30.0


def password_of(user: str) -> str:
    """Return the password of a user."""
    return f"password-of-{user}"


def made_authority(path: Path) -> Folder:
    """Make an authority."""
    folder = Folder(path)
    folder.make(now=datetime.now(UTC), days=DAYS + 1)
    return folder


def enrolled(folder: Folder, user: str, *, renew: bool = False) -> Paths:
    """Enroll a node, or the collector; return its files."""
    role: Role = "collector" if user == COLLECTOR else "node"
    folder.enroll(role, user, renew=renew, now=datetime.now(UTC), days=DAYS)
    return folder.paths(role, user)


class Broker(Mosquitto):
    """The broker as deployed: only paths and ports are other ones."""

    def __init__(self, folder: Path) -> None:
        self._certificates = folder / "certs"
        self._certificates.mkdir(parents=True)
        self._second = Port()
        self.certificate_port = self._second.number
        super().__init__(folder, self._configuration(folder))
        self.authority = made_authority(folder / "ca")
        self.other_authority = made_authority(folder / "other-ca")
        now = datetime.now(UTC)
        self.authority.enroll("broker", ADDRESS, renew=False, now=now, days=DAYS)
        self.identities = {user: enrolled(self.authority, user) for user in USERS}
        self.identities["foreign"] = enrolled(self.other_authority, "node-a")
        self.install(self.authority)
        passwords = folder / "meterhouse.passwords"
        passwords.touch(mode=0o600)
        for user in USERS:
            command = [binary("mosquitto_passwd"), "-b", str(passwords), user, password_of(user)]
            subprocess.run(command, check=True, capture_output=True)

    def install(self, *authorities: Folder) -> None:
        """Put into place what the command ``enroll`` says to copy to the broker.

        More than one authority is what a broker has while one follows another.
        """
        put = self._certificates
        shutil.copy(self.authority.paths("broker", ADDRESS).key, put / "broker.key")
        shutil.copy(self.authority.paths("broker", ADDRESS).certificate, put / "broker.pem")
        (put / "nodes-ca.pem").write_bytes(
            b"".join(each.certificate.read_bytes() for each in authorities)
        )
        (put / "nodes-crl.pem").write_bytes(
            b"".join(each.revocations.read_bytes() for each in authorities)
        )

    def reload(self) -> None:
        """Have the broker read its files again, and wait until it has."""
        said = self.log_tail().count("Reloading config")
        os.kill(self.pid, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.log_tail().count("Reloading config") == said:
            if time.monotonic() > deadline:
                raise ServerError(f"the broker did not reload:\n{self.log_tail()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        # It opens one listener after the other.
        try:
            socket.create_connection((ADDRESS, self.certificate_port), timeout=1).close()
        except OSError:
            return False
        return super()._answers()

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

    def tls(self, user: str | None = None) -> ssl.SSLContext:
        """Return what a client trusts, and shows where it has a certificate."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if user is not None:
            paths = self.identities[user]
            context.load_cert_chain(paths.certificate, paths.key)
        return context

    def close(self) -> None:
        """Kill the broker and give its ports back."""
        super().close()
        self._second.release()
