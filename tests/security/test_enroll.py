"""The command ``enroll``: what it makes, for whom, and what it never overwrites."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent.wire import is_name
from meterhouse_collector.__main__ import main
from meterhouse_collector.enroll.authority import (
    COLLECTOR,
    Role,
    issue,
    name_fault,
    new_authority,
    read_identity,
    revoke,
)
from meterhouse_collector.enroll.folder import Folder

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AUTHORITY = new_authority(now=NOW)


def enroll(folder: Path, *arguments: str) -> int:
    return main(["enroll", *arguments, "--ca-folder", str(folder)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert enroll(tmp_path / "ca", "--new-ca") == 0
    return tmp_path / "ca"


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "file", "name", "use"),
    [
        (["node-1"], "node/node-1", "node-1", ExtendedKeyUsageOID.CLIENT_AUTH),
        (["--collector"], "collector/collector", COLLECTOR, ExtendedKeyUsageOID.CLIENT_AUTH),
        (["--broker", "b.example"], "broker/b.example", "broker", ExtendedKeyUsageOID.SERVER_AUTH),
    ],
)
def test_each_role_gets_a_certificate_for_it_alone(
    folder: Path, arguments: list[str], file: str, name: str, use: x509.ObjectIdentifier
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert enroll(folder, *arguments, "--days", "30") == 0
    made, authority = certificate(folder / f"{file}.pem"), certificate(folder / "ca.pem")
    made.verify_directly_issued_by(authority)
    read_identity((folder / f"{file}.key").read_bytes(), (folder / f"{file}.pem").read_bytes())
    assert [each.value for each in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        name
    ]
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    extensions = made.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert timedelta() <= made.not_valid_after_utc - before - timedelta(days=30) < timedelta(0, 60)


@pytest.mark.parametrize(
    ("host", "kind"),
    [("b.example", x509.DNSName), ("192.0.2.7", x509.IPAddress), ("2001:db8::1", x509.IPAddress)],
)
def test_a_broker_is_known_by_its_address(
    host: str, kind: type[x509.DNSName | x509.IPAddress]
) -> None:
    made = issue(AUTHORITY, "broker", host, now=NOW, days=1).certificate
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [(type(each), str(each.value)) for each in names] == [(kind, host)]


def test_the_authority_signs_certificates_and_lists_and_no_authority() -> None:
    extensions = AUTHORITY.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (
        True,
        True,
        0,
    )
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert not usage.digital_signature


def test_keys_are_their_owners_alone(folder: Path) -> None:
    assert enroll(folder, "node-1") == enroll(folder, "--broker", "b.example") == 0
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            continue
        assert mode == (0o644 if path.suffix == ".pem" else 0o600), path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (["node-1"], "exists: --renew makes a new key and certificate in its place"),
        (["--new-ca"], "exists: an authority is made once"),
        (["node-2", "--renew"], "is not there: there is nothing to renew"),
        (["--revoke", "node-2"], "has given it no certificate"),
        (["--revoke", "b.example"], "a name has 1 to 63"),
        (["Node-1"], "a name has 1 to 63"),
        (["../node-1"], "a name has 1 to 63"),
        (["collector"], "no node can have its name"),
        (["--broker", "b example"], "a broker is a host name or an IP address"),
        (["--broker", "../b"], "a broker is a host name or an IP address"),
        (["--broker", "*.example"], "a broker is a host name or an IP address"),
        (["node-2", "--days", "9999"], "9999 days are too long: the authority itself ends on"),
        (["--new-ca", "--renew"], "--renew goes with NODE, --collector or --broker"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], again: list[str], said: str
) -> None:
    assert enroll(folder, "node-1") == 0
    before = contents(folder)
    assert enroll(folder, *again) != 0
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert contents(folder) == before


def test_without_an_authority_it_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enroll(tmp_path / "none", "node-1") == 1
    (tmp_path / "empty").mkdir()
    assert enroll(tmp_path / "empty", "node-1") == 1
    assert capsys.readouterr().err.count("--new-ca makes an authority\n") == 2


def test_the_key_may_be_gone_and_is_still_not_made_twice(folder: Path) -> None:
    assert enroll(folder, "node-1") == 0
    (folder / "node/node-1.key").unlink()
    assert enroll(folder, "node-1") == 1
    assert enroll(folder, "node-1", "--renew") == 0


def test_a_renewal_is_another_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enroll(folder, "node-1") == 0
    first = contents(folder / "node")
    assert enroll(folder, "node-1", "--renew") == 0
    second = contents(folder / "node")
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())
    assert len(list((folder / "issued/node-1").iterdir())) == 2
    assert enroll(folder, "--revoke", "node-1") == 0
    assert "node-1: 2 certificates revoked\n" in capsys.readouterr().out
    assert enroll(folder, "--revoke", "node-1") == 0
    assert "node-1: 0 certificates revoked\n" in capsys.readouterr().out


def test_what_is_printed_says_where_to_and_no_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enroll(folder, "node-1") == 0
    said = capsys.readouterr().out
    for place in ("/etc/meterhouse/node.key", "/etc/meterhouse/node.pem", "/etc/meterhouse/ca.pem"):
        assert place in said
    assert "PRIVATE" not in said
    assert (folder / "node/node-1.key").read_text().splitlines()[1] not in said


def test_of_two_at_once_one_makes_the_key(folder: Path) -> None:
    program = Path(sys.executable).with_name("meterhouse-collector")
    command = [str(program), "enroll", "node-1", "--ca-folder", str(folder)]
    running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert sorted(each.wait(60) for each in running) == [0, 1, 1]
    identity = read_identity(
        (folder / "node/node-1.key").read_bytes(), (folder / "node/node-1.pem").read_bytes()
    )
    (issued,) = (folder / "issued/node-1").iterdir()
    assert int(issued.stem, 16) == identity.certificate.serial_number


def test_a_list_of_another_authority_is_not_continued(tmp_path: Path) -> None:
    one, other = Folder(tmp_path / "one"), Folder(tmp_path / "other")
    for each in (one, other):
        each.make(now=NOW, days=10)
    one.enroll("node", "node-1", renew=False, now=NOW, days=1)
    one.revocations.write_bytes(other.revocations.read_bytes())
    with pytest.raises(ValueError, match="not signed by this authority"):
        one.revoke("node-1", now=NOW)


def test_a_key_that_does_not_fit_is_no_authority(tmp_path: Path) -> None:
    one, other = Folder(tmp_path / "one"), Folder(tmp_path / "other")
    for each in (one, other):
        each.make(now=NOW, days=10)
    (one.path / "ca.key").write_bytes((other.path / "ca.key").read_bytes())
    with pytest.raises(ValueError, match="key and certificate are no pair"):
        one.enroll("node", "node-1", renew=False, now=NOW, days=1)


SERIALS = st.lists(st.integers(1, 2**159 - 1), max_size=5)


@given(st.lists(SERIALS, min_size=1, max_size=5))
def test_lists_follow_each_other_and_forget_nobody(steps: list[list[int]]) -> None:
    before, expected = revoke(AUTHORITY, None, (), now=NOW), set[int]()
    for serials in steps:
        after = revoke(AUTHORITY, before, serials, now=NOW)
        expected |= set(serials)
        assert {each.serial_number for each in after} == expected
        assert len(after) == len(expected)
        assert number_of(after) == number_of(before) + 1
        # Else a broker that has both would go by the older.
        assert after.last_update_utc > before.last_update_utc
        assert after.next_update_utc == AUTHORITY.certificate.not_valid_after_utc
        before = after


def number_of(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@given(st.text(max_size=70), st.sampled_from(["node", "collector"]))
def test_a_name_is_a_node_of_the_contract(name: str, role: Role) -> None:
    allowed = is_name(name) and not (role == "node" and name == COLLECTOR)
    assert (name_fault(role, name) is None) == allowed


@given(st.text(alphabet="abz09-.*/_: ", max_size=20))
def test_a_broker_is_never_a_path_or_a_pattern(name: str) -> None:
    if name_fault("broker", name) is None:
        assert not set(name) & set("*/_ ")
        assert name not in {"", ".", ".."}
        issue(AUTHORITY, "broker", name, now=NOW, days=1)
