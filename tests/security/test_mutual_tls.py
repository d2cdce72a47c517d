"""The deployed broker takes a certificate of its authority that is in force, and no other."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meterhouse_collector.enroll.authority import Identity, issue, new_authority, read_identity
from meterhouse_collector.enroll.folder import Folder
from tests.deploy.brokers import ADDRESS, Broker, enrolled, made_authority, password_of
from tests.security.knocks import (
    ACCEPTED,
    NOT_AUTHORIZED,
    answers_ping,
    connected,
    knock,
    login,
    plain_answer,
)
from tests.servers import binary


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker whose files no test changes."""
    with Broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Run a broker for one test."""
    with Broker(tmp_path / "broker") as server:
        yield server


def shown(broker: Broker, folder: Path, identity: Identity) -> ssl.SSLContext:
    """Return what a client has that shows some certificate."""
    certificate, key = folder / "shown.pem", folder / "shown.key"
    certificate.write_bytes(identity.certificate_pem())
    key.write_bytes(identity.key_pem())
    context = broker.tls()
    context.load_cert_chain(certificate, key)
    return context


def authority_of(folder: Folder) -> Identity:
    return read_identity((folder.path / "ca.key").read_bytes(), folder.certificate.read_bytes())


@pytest.mark.parametrize("user", ["collector", "node-a", "node-b"])
def test_who_is_enrolled_is_let_in(broker: Broker, user: str) -> None:
    assert knock(broker.certificate_port, broker.tls(user)) == "accepted"


def test_who_has_no_certificate_is_refused(broker: Broker) -> None:
    found = knock(broker.certificate_port, broker.tls())
    assert found == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_a_certificate_of_another_authority_is_refused(broker: Broker) -> None:
    found = knock(broker.certificate_port, broker.tls("foreign"))
    assert found == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_certificate_that_signs_itself_is_refused(broker: Broker, tmp_path: Path) -> None:
    alone = new_authority(now=datetime.now(UTC))
    found = knock(broker.certificate_port, shown(broker, tmp_path, alone))
    assert found == "TLSV1_ALERT_UNKNOWN_CA"


def test_a_certificate_that_has_ended_is_refused(broker: Broker, tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=1, minutes=1)
    ended = issue(authority_of(broker.authority), "node", "node-a", now=past, days=1)
    found = knock(broker.certificate_port, shown(broker, tmp_path, ended))
    assert found == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


def test_a_certificate_that_is_not_in_force_yet_is_refused(broker: Broker, tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(hours=2)
    early = issue(authority_of(broker.authority), "node", "node-a", now=future, days=1)
    found = knock(broker.certificate_port, shown(broker, tmp_path, early))
    assert found == "SSLV3_ALERT_BAD_CERTIFICATE"


def test_the_brokers_own_certificate_makes_no_client(broker: Broker, tmp_path: Path) -> None:
    paths = broker.authority.paths("broker", ADDRESS)
    own = read_identity(paths.key.read_bytes(), paths.certificate.read_bytes())
    found = knock(broker.certificate_port, shown(broker, tmp_path, own))
    assert found == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(broker: Broker, version: ssl.TLSVersion) -> None:
    context = broker.tls("node-a")
    context.minimum_version = context.maximum_version = version
    assert knock(broker.certificate_port, context) == "accepted"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("listener", ["password", "certificate"])
def test_tls_1_1_is_refused(broker: Broker, listener: str) -> None:
    context = broker.tls("node-a")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    # Else this side would not even offer it.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    port = broker.port if listener == "password" else broker.certificate_port
    # An alert: the broker has seen the version, and does not speak it.
    assert knock(port, context) == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("user", [None, "foreign"])
def test_who_is_refused_by_tls_1_2_is_refused_by_1_3(broker: Broker, user: str | None) -> None:
    context = broker.tls(user)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    assert knock(broker.certificate_port, context) != "accepted"


def test_plain_text_is_refused(broker: Broker) -> None:
    for port in (broker.port, broker.certificate_port):
        assert ACCEPTED not in plain_answer(port)


def test_a_broker_of_another_authority_is_not_spoken_to(broker: Broker) -> None:
    context = ssl.create_default_context(cafile=broker.other_authority.certificate)
    found = knock(broker.certificate_port, context)
    assert found.startswith("the broker's certificate: ")


def test_a_node_cannot_play_the_broker(broker: Broker) -> None:
    """A stolen certificate of a node is good for its own login, and for no server."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    paths = broker.identities["node-a"]
    server.load_cert_chain(paths.certificate, paths.key)
    client = broker.tls()
    # What is looked at here is what it is for, not whose it is.
    client.check_hostname = False
    with listening(server) as port:
        assert knock(port, client) == "the broker's certificate: unsuitable certificate purpose"


@contextlib.contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """Shake hands with one client, on a free port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True):
                pass

    with socket.create_server((ADDRESS, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_who_is_revoked_is_refused_after_a_reload(own_broker: Broker) -> None:
    port = own_broker.certificate_port
    assert knock(port, own_broker.tls("node-a")) == "accepted"
    assert own_broker.authority.revoke("node-a", now=datetime.now(UTC)) == 1
    own_broker.install(own_broker.authority)
    own_broker.reload()
    assert knock(port, own_broker.tls("node-a")) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert knock(port, own_broker.tls("node-b")) == "accepted"
    # The next list follows the first within the same second.
    own_broker.authority.revoke("node-b", now=datetime.now(UTC))
    own_broker.install(own_broker.authority)
    own_broker.reload()
    assert knock(port, own_broker.tls("node-a")) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert knock(port, own_broker.tls("node-b")) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert knock(port, own_broker.tls("collector")) == "accepted"


def test_a_connection_that_stands_ends_with_a_restart_only(own_broker: Broker) -> None:
    port = own_broker.certificate_port
    with connected(port, own_broker.tls("node-a")) as connection:
        connection.sendall(login("standing"))
        assert connection.recv(4) == ACCEPTED
        own_broker.authority.revoke("node-a", now=datetime.now(UTC))
        own_broker.install(own_broker.authority)
        own_broker.reload()
        # This is why the pages say to restart it.
        assert answers_ping(connection)
        own_broker.restart()
        assert not answers_ping(connection)
    assert knock(port, own_broker.tls("node-a")) == "SSLV3_ALERT_CERTIFICATE_REVOKED"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_kept_from_before_opens_nothing(
    own_broker: Broker, version: ssl.TLSVersion
) -> None:
    port, context = own_broker.certificate_port, own_broker.tls("node-a")
    context.minimum_version = context.maximum_version = version
    with connected(port, context) as connection:
        connection.sendall(login("keeping"))
        assert connection.recv(4) == ACCEPTED
        session = connection.session
    own_broker.authority.revoke("node-a", now=datetime.now(UTC))
    own_broker.install(own_broker.authority)
    own_broker.reload()
    assert knock(port, context, session=session) != "accepted"


def test_a_renewed_certificate_is_taken_beside_the_old_one(own_broker: Broker) -> None:
    port, old = own_broker.certificate_port, own_broker.tls("node-a")
    enrolled(own_broker.authority, "node-a", renew=True)
    assert knock(port, old) == "accepted"
    assert knock(port, own_broker.tls("node-a")) == "accepted"


def test_a_key_that_was_stolen_is_locked_out_with_all_before_it(own_broker: Broker) -> None:
    port, first = own_broker.certificate_port, own_broker.tls("node-a")
    enrolled(own_broker.authority, "node-a", renew=True)
    second = own_broker.tls("node-a")
    assert own_broker.authority.revoke("node-a", now=datetime.now(UTC)) == 2
    enrolled(own_broker.authority, "node-a", renew=True)
    own_broker.install(own_broker.authority)
    own_broker.reload()
    assert knock(port, first) == knock(port, second) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert knock(port, own_broker.tls("node-a")) == "accepted"


def test_one_authority_follows_another_while_both_are_trusted(own_broker: Broker) -> None:
    port = own_broker.certificate_port
    following = made_authority(own_broker.folder / "following")
    paths = enrolled(following, "node-b")
    new = own_broker.tls()
    new.load_cert_chain(paths.certificate, paths.key)
    assert knock(port, new) == "TLSV1_ALERT_UNKNOWN_CA"
    own_broker.authority.revoke("node-b", now=datetime.now(UTC))
    own_broker.install(own_broker.authority, following)
    own_broker.restart()
    assert knock(port, new) == "accepted"
    assert knock(port, own_broker.tls("node-a")) == "accepted"
    assert knock(port, own_broker.tls("node-b")) == "SSLV3_ALERT_CERTIFICATE_REVOKED"


def test_a_renewed_certificate_of_the_broker_is_shown_after_a_reload(own_broker: Broker) -> None:
    port, now = own_broker.certificate_port, datetime.now(UTC)
    before = serial_of(own_broker)
    own_broker.authority.enroll("broker", ADDRESS, renew=True, now=now, days=1)
    own_broker.install(own_broker.authority)
    own_broker.reload()
    assert serial_of(own_broker) != before
    assert knock(port, own_broker.tls("node-a")) == "accepted"


def serial_of(broker: Broker) -> str:
    """Return the serial of the certificate that a broker shows."""
    with connected(broker.certificate_port, broker.tls("node-a")) as connection:
        shown_now = connection.getpeercert()
    assert shown_now is not None
    return str(shown_now["serialNumber"])


def test_a_changed_password_is_taken_after_a_reload(own_broker: Broker) -> None:
    assert password_answer(own_broker, password_of("node-a")) == ACCEPTED
    file = own_broker.folder / "meterhouse.passwords"
    command = [binary("mosquitto_passwd"), "-b", str(file), "node-a", "another"]
    subprocess.run(command, check=True, capture_output=True)
    own_broker.reload()
    assert password_answer(own_broker, password_of("node-a")) == NOT_AUTHORIZED
    assert password_answer(own_broker, "another") == ACCEPTED


def password_answer(broker: Broker, password: str) -> bytes:
    """Return what a broker answers to a login of node-a with a password."""
    with connected(broker.port, broker.tls()) as connection:
        connection.sendall(login("by-password", "node-a", password))
        return connection.recv(4)
