"""The demo's site: the files that its agents and its collector read."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from meterhouse_collector.demo import yesterday
from meterhouse_collector.demo.scenario import Scenario, budget
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site

SITE: Final = "demo"
FACILITY: Final = "facility"
THIS_MACHINE: Final = "this-machine"
# Two seconds: soon to see something, and still patient with an agent that waits for a CPU.
INTERVAL_SECONDS: Final = 2
GRACE_SECONDS: Final = 1.5
NODES_MAX: Final = 64
DEVICES_PER_NODE: Final = 8
ENGINE_DEVICES: Final = 4
_NODES_PER_PROCESS: Final = 8
_DAY_SECONDS: Final = 86_400
_MODEL: Final = "sim-h100"
_SERVED: Final = ("sim-70b", "sim-8b")
POOLS: Final = ("chat", "code")
# Of what was spent: what the budget of the scenario allows.
_BUDGETED: Final = 0.8


class Files(NamedTuple):
    """What was written: one config per agent process, and the collector's with its site.

    ``past`` is what the scenario's store has from before.
    """

    agents: tuple[Path, ...]
    simulation: Path
    collector: Path
    site: Path
    past: tuple[Point, ...] = ()


class Plan(NamedTuple):
    """What the demo is to be; the socket has a folder of its own, for its path must be short."""

    folder: Path
    socket: Path
    nodes: int
    host: str
    port: int
    now_seconds: float
    scenario_seconds: float | None = None
    alertmanager: str | None = None

    @property
    def scenario(self) -> Scenario | None:
        """What is to happen, where something is."""
        if self.scenario_seconds is None:
            return None
        chat, code = POOLS
        return Scenario(
            begins_seconds=round(self.now_seconds),
            length_seconds=self.scenario_seconds,
            failing_node=self.members(chat)[0],
            idle_pool=code,
            idle_nodes=self.members(code),
        )

    def members(self, pool: str) -> tuple[str, ...]:
        """Return the nodes of a pool."""
        return self.names[POOLS.index(pool) :: len(POOLS)]

    @property
    def names(self) -> tuple[str, ...]:
        """The simulated nodes."""
        return tuple(f"sim-{number:03d}" for number in range(self.nodes))


def write_files(plan: Plan) -> Files:
    """Write all configs into the demo's folder."""
    fleet = _fleet(plan)
    simulated = f'[[source]]\nkind = "simulated"\n{fleet}'
    texts = {
        f"agent-nodes-{position}.toml": _agent(plan, simulated, play=names)
        for position, names in enumerate(_processes(plan.names))
    }
    texts[f"agent-{FACILITY}.toml"] = _agent(plan, simulated, node=FACILITY)
    texts[f"agent-{THIS_MACHINE}.toml"] = _agent(
        plan, '[[source]]\nkind = "host"\n', node=THIS_MACHINE
    )
    site, past = _scenario_site(plan, _site(plan))
    for name, text in {**texts, "site.toml": site, "collector.toml": _collector(plan)}.items():
        (plan.folder / name).write_text(text, encoding="utf-8")
    (plan.folder / "spool").mkdir(exist_ok=True)
    return Files(
        agents=tuple(plan.folder / name for name in texts),
        simulation=plan.folder / f"agent-{FACILITY}.toml",
        collector=plan.folder / "collector.toml",
        site=plan.folder / "site.toml",
        past=past,
    )


def _scenario_site(plan: Plan, site: str) -> tuple[str, tuple[Point, ...]]:
    """Return the site of a scenario with what is watched, and what it spent since yesterday."""
    if plan.scenario is None:
        return site, ()
    index = SiteIndex(parse_site(site, "site.toml"))
    past = tuple(yesterday.quarters(index, plan.now_seconds))
    amount = max(1, int(yesterday.spent(past) * _BUDGETED))
    since = datetime.fromtimestamp(plan.now_seconds, UTC).date() - timedelta(days=1)
    limits = budget(amount, index.model.currency, since.isoformat())
    return site + plan.scenario.watched() + limits, past


def _processes(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(names), _NODES_PER_PROCESS):
        yield names[first : first + _NODES_PER_PROCESS]


def _quoted(value: object) -> str:
    # A JSON text is a TOML text too.
    return json.dumps(str(value), ensure_ascii=False)


def _listed(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _fleet(plan: Plan) -> str:
    # Yesterday, so that the counters are not at zero and the clock may be anything.
    origin = int(plan.now_seconds) // _DAY_SECONDS * _DAY_SECONDS - _DAY_SECONDS
    return f"""[source.fleet]
nodes = {plan.nodes}
devices_per_node = {DEVICES_PER_NODE}
engine_devices = {ENGINE_DEVICES}
facility_node = "{FACILITY}"
origin_seconds = {origin}
accelerator_model = "{_MODEL}"
served_models = {_listed(_SERVED)}
block_seconds = 10
job_seconds = 60
{"" if plan.scenario is None else plan.scenario.faults()}"""


def _agent(plan: Plan, source: str, *, node: str = "", play: tuple[str, ...] = ()) -> str:
    who = (
        f"node = {_quoted(node)}" if node else f"node = {_quoted(play[0])}\nplay = {_listed(play)}"
    )
    return f"""site = "{SITE}"
{who}
interval = "{INTERVAL_SECONDS}s"
[socket]
path = {_quoted(plan.socket)}
[spool]
directory = {_quoted(plan.folder / "spool")}
{source}"""


def _collector(plan: Plan) -> str:
    window = 300 if plan.scenario is None else plan.scenario.window_seconds
    alerts = ""
    if plan.alertmanager is not None:
        alerts = f"[alerts.alertmanager]\nurl = {_quoted(plan.alertmanager)}\n"
    return f"""site = {_quoted(plan.folder / "site.toml")}
interval = "{INTERVAL_SECONDS}s"
detail_every = "10s"
grace = "{GRACE_SECONDS}s"
held = "1m"
window = "{window}s"
receipts_every = "5s"
[socket]
path = {_quoted(plan.socket)}
[sqlite]
path = {_quoted(plan.folder / "meterhouse.sqlite")}
[page]
host = {_quoted(plan.host)}
port = {plan.port}
{alerts}"""


def _site(plan: Plan) -> str:
    # A year ago, so that everything is in service whatever the time zone.
    since = (datetime.fromtimestamp(plan.now_seconds, UTC) - timedelta(days=365)).date()
    parts = [
        f"""name = "{SITE}"
currency = "EUR"
time_zone = "UTC"
[[hardware]]
accelerator_model = "{_MODEL}"
vendor = "simulated"
price_per_device = 25000.00
salvage_per_device = 1500.00
life = "1825d"
[[tariff]]
per_kwh = 0.18
valid_from = {since}
[[meter]]
name = "utility"
role = "boundary"
sign = 1
readers = ["{FACILITY}"]
[[meter]]
name = "it-pdu"
role = "it"
category = 2
readers = ["{FACILITY}"]
[[meter]]
name = "water"
role = "water"
readers = ["{FACILITY}"]
"""
    ]
    for position, pool in enumerate(POOLS):
        members = plan.members(pool)
        if members:
            parts.append(_pool(pool, members, since.isoformat()))
            parts.extend(_engine(name, _SERVED[position]) for name in members)
    return "".join(parts)


def _pool(pool: str, members: tuple[str, ...], since: str) -> str:
    return f"""[[pool]]
name = "{pool}"
cluster = "hall-1"
[[asset]]
nodes = {_listed(members)}
pool = "{pool}"
accelerator_model = "{_MODEL}"
devices = {_listed(tuple(f"d{index}" for index in range(DEVICES_PER_NODE)))}
in_service = {since}
"""


def _engine(node: str, served_model: str) -> str:
    devices = tuple(f"{node}/d{index}" for index in range(ENGINE_DEVICES))
    return f"""[[engine]]
name = "engine-{node}"
served_model = "{served_model}"
devices = {_listed(devices)}
"""
