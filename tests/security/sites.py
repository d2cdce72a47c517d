"""One agent and one collector with the deployed broker: their configs, and how they are started."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.deploy.brokers import ADDRESS, COLLECTOR, Broker
from tests.e2e.configs import SITE, Table, asset, document, site_head
from tests.e2e.programs import Program

NODE: Final = "node-a"
PATIENCE_SECONDS: Final = 60.0


def by_certificate(broker: Broker, user: str) -> Table:
    """Return the section [mqtt] of a program that shows its certificate."""
    paths = broker.identities[user]
    tls = {"certificate_file": paths.certificate, "key_file": paths.key}
    return {
        "host": ADDRESS,
        "port": broker.certificate_port,
        "tls": {"ca_file": broker.authority.certificate, **tls},
    }


@contextmanager
def agent(
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    metrics: Table | None = None,
    **more: object,
) -> Iterator[Program]:
    """Yield the agent of the node, not yet started; ``more`` has its broker, or overrides a key."""
    program = Program(folder, "agent", "meterhouse-agent", environment=environment)
    config = {
        "site": SITE,
        "node": NODE,
        "interval": "1s",
        "resend_after": "2s",
        "spool": {"directory": folder / "spool"},
        "metrics": {"port": program.metrics_port, **(metrics or {})},
        "source": [{"kind": "host"}],
        **more,
    }
    program.config.write_text(document(config), encoding="utf-8")
    try:
        yield program
    finally:
        program.close()


@contextmanager
def collector(folder: Path, *, page: Table | None = None, **more: object) -> Iterator[Program]:
    """Yield the collector, not yet started; ``more`` has its broker, or overrides a key."""
    program = Program(folder, COLLECTOR, "meterhouse-collector")
    model = site_head() | {"asset": [asset(NODE, ["d0"], "model-a")]}
    (folder / "site.toml").write_text(document(model), encoding="utf-8")
    config = {
        "site": folder / "site.toml",
        "interval": "1s",
        "detail_every": "1s",
        "receipts_every": "1s",
        "page": {"port": program.metrics_port, **(page or {})},
        **more,
    }
    program.config.write_text(document(config), encoding="utf-8")
    try:
        yield program
    finally:
        program.close()


def until(good: Callable[[], bool], what: str, *programs: Program) -> None:
    """Return when something is so; fail with the logs if it never is or a program ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not good():
        for program in programs:
            program.check()
        if time.monotonic() > deadline:
            raise AssertionError("\n".join([f"not so: {what}", *(p.text() for p in programs)]))
        time.sleep(0.1)


def has(program: Program, metric: str) -> bool:
    """Tell whether a counter of a program is above zero; before it serves, it is not."""
    try:
        return program.metric(metric) > 0
    except OSError:
        return False
