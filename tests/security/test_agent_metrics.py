"""The agent's /metrics under the same rule, over a real socket."""

import socket
import ssl
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

import meterhouse_agent.access
import meterhouse_collector.web.access
from meterhouse_agent.config import MetricsConfig
from meterhouse_agent.metrics_server import CLIENTS_MAX, metrics_served
from tests.deploy.brokers import ADDRESS, made_authority
from tests.security.http_guarded import PASSWORD, TOKEN, USER, WRONG, basic, bearer, get
from tests.security.http_guarded import secret_files as secrets_of


def registry() -> CollectorRegistry:
    found = CollectorRegistry()
    Gauge("meterhouse_agent_connected", "Of a test.", registry=found).set(1)
    return found


def config_of(folder: Path, **more: object) -> MetricsConfig:
    return MetricsConfig.model_validate({"port": 0, **secrets_of(folder), **more})


def test_both_programs_have_the_same_guard() -> None:
    agents, collectors = (
        Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (meterhouse_agent.access, meterhouse_collector.web.access)
    )
    assert agents == collectors


def test_without_secrets_the_loopback_may_read() -> None:
    with metrics_served(MetricsConfig(port=0), registry()) as port:
        answer = get(port, "/metrics")
    (family,) = text_string_to_metric_families(answer.body.decode())
    assert (answer.status, family.name) == (200, "meterhouse_agent_connected")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_login_is_none(tmp_path: Path, wrong: str | None) -> None:
    with metrics_served(config_of(tmp_path), registry()) as port:
        answer = get(port, "/metrics", wrong)
        health = get(port, "/healthz", wrong)
    assert answer.status == 401
    assert b"meterhouse_agent" not in answer.body
    assert len(answer.headers.get_all("WWW-Authenticate") or []) == 2
    assert (health.status, health.body) == (200, b"ok\n")


@pytest.mark.parametrize("right", [bearer(TOKEN), basic(USER, PASSWORD)])
def test_either_login_opens_it(tmp_path: Path, right: str) -> None:
    with metrics_served(config_of(tmp_path), registry()) as port:
        assert get(port, "/metrics?name[]=x", right).status == 200
        assert get(port, "/elsewhere", right).status == 404
        assert get(port, "/elsewhere").status == 401


def test_it_speaks_tls_and_waits_for_nobody(tmp_path: Path) -> None:
    authority = made_authority(tmp_path / "ca")
    authority.enroll("broker", ADDRESS, renew=False, now=datetime.now(UTC), days=1)
    paths = authority.paths("broker", ADDRESS)
    config = config_of(tmp_path, certificate_file=paths.certificate, key_file=paths.key)
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with metrics_served(config, registry()) as port, socket.create_connection((ADDRESS, port)):
        # The connection above shakes no hands, and is in nobody's way.
        assert get(port, "/metrics", bearer(TOKEN), trusting).status == 200
        assert get(port, "/metrics", None, trusting).status == 401
        with pytest.raises(ssl.SSLCertVerificationError):
            get(port, "/metrics", bearer(TOKEN), ssl.create_default_context())


def test_clients_are_bounded_and_the_bound_passes() -> None:
    with metrics_served(MetricsConfig(port=0), registry()) as port:
        with ExitStack() as held:
            for _ in range(CLIENTS_MAX):
                held.enter_context(socket.create_connection((ADDRESS, port)))
            # Taken in the order in which they came: this one is beyond the bound.
            with socket.create_connection((ADDRESS, port), timeout=30) as beyond:
                assert beyond.recv(1) == b""
        while True:
            try:
                assert get(port, "/metrics").status == 200
            except OSError:
                continue
            break


def test_a_certificate_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    config = MetricsConfig(port=0, certificate_file=absent, key_file=absent)
    with (
        pytest.raises(OSError, match=r"^metrics cannot be served on 127.0.0.1:0: certificate_file"),
        metrics_served(config, registry()),
    ):
        pytest.fail("it was served")
