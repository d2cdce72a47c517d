#!/usr/bin/env python3
"""Writes ``docs/reference.md`` from the code: ``python -m docs.reference``.

With ``--check`` it writes nothing, and fails where the file is out of date.
"""

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

import meterhouse_agent.__main__ as agent_command
import meterhouse_collector.__main__ as collector_command
from meterhouse_agent import sources, wire
from meterhouse_agent.counters import Verdict
from meterhouse_agent.telemetry import Metrics
from meterhouse_collector import config
from meterhouse_collector.kpi import catalogue
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.live import Snapshot
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.site import load
from meterhouse_collector.store.init_influx import SHARD_DAYS
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.metrics import KpiMetrics

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs" / "reference.md"

HEAD: Final = """\
# Reference

Written by `python -m docs.reference` from the code; a test fails when it is out of date.
Edit the code, or that script, not this file.

Contents:
[messages](#messages) ·
[KPIs](#kpis) ·
[rollup fields](#rollup-fields) ·
[detail fields](#detail-fields) ·
[buckets](#buckets) ·
[sources](#sources) ·
[commands](#commands) ·
[refusal reasons](#refusal-reasons) ·
[metrics of the agent](#metrics-of-the-agent) ·
[metrics of the collector](#metrics-of-the-collector) ·
[config of the agent](#config-of-the-agent) ·
[config of the collector](#config-of-the-collector) ·
[site model](#site-model)
"""

MESSAGES: Final[tuple[type[Struct], ...]] = (
    wire.Report,
    wire.Accelerators,
    wire.Host,
    wire.Meter,
    wire.Register,
    wire.Engine,
    wire.Histogram,
    wire.Span,
    wire.Receipt,
    wire.Refusal,
    wire.Status,
    wire.SourceState,
    wire.Inventory,
    wire.Device,
)

# Types whose values have a table of their own.
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "state": wire.STATES,
    "method": get_args(wire.Method),
    "quality": get_args(wire.Quality),
    "kind": get_args(wire.ThingKind),
}
WORDS: Final = {frozenset(values): name for name, values in VALUES.items()}
PLAIN: Final[dict[type[msgspec.inspect.Type], str]] = {
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.NoneType: "null",
}

# What each reason means and what to do; the test of this page compares the keys with the code.
REFUSALS: Final = {
    "foreign": (
        "it names another site or node than its topic, or what its agent may not read",
        "compare the agent's `site` and `node` with the broker's user; see `readers` of the site",
    ),
    "future": (
        "the interval lies more than a minute ahead of the collector's clock",
        "check time synchronisation on both machines; the agent sends it again",
    ),
    "malformed": (
        "the message does not decode, or contradicts itself",
        "check that agent and collector are of versions that fit; then report a bug",
    ),
    "off_grid": (
        "the interval's length or start is not the site's",
        "give all agents and the collector the same `interval`",
    ),
    "oversized": (
        f"the message is larger than {wire.MAX_PAYLOAD_BYTES} bytes",
        "share the meters of this agent out over several",
    ),
    "rejected_by_store": (
        "the database took the request but not this row",
        "read the collector's log: it names the database's reason",
    ),
    "schema": (
        "the message is of a newer schema",
        "upgrade the collector; the agent keeps the report and sends it again",
    ),
    "status_foreign": (
        "the status names another site or node than its topic",
        "compare `site` and `node` of the agent with the broker's user",
    ),
    "status_malformed": (
        "the status does not decode, or its hash is not its inventory's",
        "check that agent and collector are of versions that fit; then report a bug",
    ),
    "status_quota": (
        "more nodes than the collector keeps",
        "look who invents names of nodes; then run more collectors",
    ),
    "too_old": (
        f"the interval began more than {POLICY_DAYS['ledger']} days ago: the ledger keeps no more",
        "nothing can be done",
    ),
    "topic": (
        "the topic is none of ours, or its slot is not the node's",
        "look at the broker's log who publishes there",
    ),
    "unknown_inventory": (
        "the collector has not heard the inventory that the report refers to",
        "nothing: the receipt asks for it, the agent tells it and sends the report again",
    ),
}

# The last label of each metric, and its values.
LABEL_VALUES: Final = {
    "meterhouse_agent_dropped_total": {
        "receipt_malformed": "a receipt that does not decode",
        "refused_full": "the oldest refused reports, when their table reached its bound",
        "spool_damaged": "a spool that could not be read; it was set aside and a new one begun",
        "spool_full": "the oldest reports, when the spool reached `max_bytes`",
        "spool_unwritable": "the oldest reports beyond 16 MiB, while the spool cannot be written",
    },
    "meterhouse_agent_events_total": {
        "clock_behind": "the clock went back before the end of the last reported interval",
        "clock_step": "the clock was stepped by half a second or more",
        "span_dropped": "a span beyond the number that one report carries",
        "counter_rollover": "a counter passed its modulus; counted on",
        "counter_restart": "a counter began again from zero; counted from zero",
        "counter_jitter": "a counter fell by a little; the reading is held suspect",
        "counter_jump": "a counter grew by more than is possible; held suspect",
        "counter_swap": "a suspect reading stayed; what was counted between is not known",
    },
    "meterhouse_collector_dropped_total": {
        "intake_full": "a report that came while 20,000 waited for the store; sent again",
        "paused": "a report that came while none is looked at, because the store is behind",
        "rows_full": "a row that no receipt hangs on, beyond 100,000 that wait for the store",
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it; return the exit code."""
    parser = argparse.ArgumentParser(prog="docs.reference")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when out of date")
    options = parser.parse_args(arguments)
    text = page()
    if not options.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/reference.md is out of date: run python -m docs.reference\n")
    return 1


def page() -> str:
    """Return the text of the page."""
    parts = [
        HEAD,
        *_messages(),
        *_catalogue(),
        *_buckets(),
        *_sources(),
        *_commands(),
        *_refusals(),
        *_metrics(),
        *_samples(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _paragraph(documented: object) -> str:
    text = (documented.__doc__ or "").replace("``", "`")
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"


def _messages() -> Iterator[str]:
    yield "## Messages\n"
    yield (
        f"MQTT 3.1.1, JSON, schema {wire.SCHEMA}.\n"
        f"Topics are `{wire.PREFIX}/SITE/SLOT/NODE/` and `report`, `receipt` or `status`;\n"
        f"the slot is the CRC-32 of the node's name modulo {wire.SLOTS}, as two digits.\n"
        f"A message has at most {wire.MAX_PAYLOAD_BYTES} bytes, a node at most {wire.MAX_DEVICES}"
        " devices.\n"
        "Fields that have their default are left out.\n"
        f"Names of sites, nodes, meters and engines match `{wire.NAME_PATTERN}`.\n"
    )
    yield table(
        ("type", "values"),
        ((name, ", ".join(f"`{one}`" for one in values)) for name, values in VALUES.items()),
    )
    for struct in MESSAGES:
        yield f"### {struct.__name__}\n"
        yield _paragraph(struct)
        yield table(
            ("field", "type", "default"),
            (
                (f"`{field.encode_name}`", f"`{_type(field.type)}`", _default(field))
                for field in msgspec.structs.fields(struct)
            ),
        )


def _type(annotation: object) -> str:
    """Name a type as the wire knows it: without the bounds that msgspec hangs on it."""
    return _info(msgspec.inspect.type_info(annotation))


def _info(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_info(one) for one in types)
        case msgspec.inspect.ListType(item_type=item):
            return f"[{_info(item)}]"
        case msgspec.inspect.TupleType(item_types=items):
            return "[" + ", ".join(_info(one) for one in items) + "]"
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return f"{{{_info(key)}: {_info(value)}}}"
        case msgspec.inspect.StructType(cls=struct):
            return struct.__name__
        case _:
            return _plain(info)


def _plain(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.LiteralType(values=values):
            texts = [str(value) for value in values]
            return WORDS.get(frozenset(texts)) or " or ".join(f'"{text}"' for text in texts)
        case msgspec.inspect.StrType(pattern=pattern):
            return "text" if pattern is None else "name"
        case _:
            return PLAIN[type(info)]


def _default(field: "msgspec.structs.FieldInfo") -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "must be there"


def _catalogue() -> Iterator[str]:
    yield "## KPIs\n"
    yield (
        "Each is a ratio of two sums over one window, times the factor in its formula.\n"
        "What they mean, and when they have no value: [price.md](price.md).\n"
    )
    for kpi in catalogue.KPIS:
        yield f"### {kpi.name}\n"
        yield table(
            ("", ""),
            (
                ("unit", kpi.unit),
                ("formula", kpi.formula),
                ("numerator", f"`{kpi.numerator}`"),
                ("denominator", f"`{kpi.denominator}`"),
                ("after", kpi.source),
            ),
        )
    yield "## Rollup fields\n"
    yield (
        "Measurement `rollup` of the policy `live`: one row for each group and interval.\n"
        "A row always has all fields, as floats.\n"
        "Device-seconds add up over devices, seconds do not.\n"
    )
    yield _fields(catalogue.ROLLUP_FIELDS)
    yield "## Detail fields\n"
    yield "Measurement `accelerator`, tagged site, node, device, vendor, accelerator_model:\n"
    yield _fields(catalogue.DETAIL_FIELDS)
    yield "Measurement `host`, tagged site and node:\n"
    yield _fields(catalogue.HOST_FIELDS)


def _fields(fields: Iterable[catalogue.Field]) -> str:
    return table(("field", "unit", "meaning"), ((f"`{f.name}`", f.unit, f.meaning) for f in fields))


def _buckets() -> Iterator[str]:
    yield "## Buckets\n"
    yield "Made by `meterhouse-collector init-influx`; named `DATABASE/POLICY`.\n"
    yield table(
        ("policy", "kept", "shards of"),
        (
            (f"`{policy}`", f"{days} d", f"{SHARD_DAYS[policy]} d")
            for policy, days in POLICY_DAYS.items()
        ),
    )


def _sources() -> Iterator[str]:
    yield "## Sources\n"
    yield (
        "What an agent can read: the `kind` of a `[[source]]` table.\n"
        "The keys of each are in the [config of the agent](#config-of-the-agent).\n"
    )
    rows = []
    for kind in sources.SOURCES:
        module: Any = sources.load(kind)
        fields = module.Config.model_fields
        required = [f"`{name}`" for name, field in fields.items() if field.is_required()]
        keys = ", ".join(f"`{name}`" for name in fields if name != "kind")
        summary = (module.__doc__ or "").strip().splitlines()[0]
        needed = ", ".join(name for name in required if name != "`kind`") or "none"
        rows.append((f"`{kind}`", summary, keys, needed))
    yield table(("kind", "reads", "keys", "must be given"), rows)


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "Exit codes: 0 done, 1 failed, 2 wrong config or arguments.\n"
    for program in (agent_command, collector_command):
        parser: argparse.ArgumentParser = program._parser()  # noqa: SLF001 - the only list of the commands
        yield f"### {parser.prog}\n"
        yield f"{parser.description}\n"
        rows = []
        for name, text, command in commands(parser):
            options = " ".join(filter(None, map(_option, command._actions)))  # noqa: SLF001 - argparse has no other way
            rows.append((f"`{name}`", text, f"`{options}`" if options else ""))
        yield table(("command", "does", "options"), rows)


def commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Return each command of a program: its name, its help, and its own parser."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
            texts = {choice.dest: choice.help for choice in action._choices_actions}  # noqa: SLF001 - argparse has no other way
            for name, command in action.choices.items():
                yield name, texts.get(name) or "", command


def _option(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):  # noqa: SLF001 - argparse has no other way
        return ""
    text = action.option_strings[-1] if action.option_strings else str(action.dest)
    if action.nargs != 0:
        choices = None if action.choices is None else "|".join(str(c) for c in action.choices)
        text += f" {choices or action.metavar or action.dest.upper()}"
    return text if action.required else f"[{text}]"


def _refusals() -> Iterator[str]:
    yield "## Refusal reasons\n"
    yield (
        "A refusal that is final moves the report to the refused table of the agent's spool;\n"
        "`meterhouse-agent resend` puts it back.\n"
        "Any other report stays in the spool and is sent again.\n"
        "A refused status is heard again when the agent connects or its inventory changes.\n"
    )
    final = refusals()
    if final.keys() != REFUSALS.keys():
        raise SystemExit(f"reasons without a text: {sorted(final.keys() ^ REFUSALS.keys())}")
    yield table(
        ("reason", "final", "what it means", "what to do"),
        (
            (f"`{reason}`", "yes" if final[reason] else "no", *REFUSALS[reason])
            for reason in sorted(final)
        ),
    )


def refusals() -> dict[str, bool]:
    """Return every reason for which the collector's code refuses, and whether it is final."""
    # The writer takes these from what the store says.
    found = {"too_old": True, "rejected_by_store": True}
    for call, name in _calls("collector"):
        final = [word.value for word in call.keywords if word.arg == "final"]
        if name in {"_Refused", "_count"} and isinstance(call.args[0], ast.Constant):
            found[str(call.args[0].value)] = isinstance(final[0], ast.Constant) and bool(
                final[0].value
            )
    return found


def counted() -> dict[str, set[str]]:
    """Return the values that the code gives to the last label of the metrics above."""
    dropped: set[str] = set()
    lost: set[str] = set()
    events = {f"counter_{verdict}" for verdict in Verdict}
    for call, name in _calls("agent"):
        if name in {"dropped", "event"} and call.args and isinstance(call.args[0], ast.Constant):
            (dropped if name == "dropped" else events).add(str(call.args[0].value))
    for holder, key in _subscripts("agent"):
        (dropped if holder == "dropped" else events).add(key)
    for call, name in _calls("collector"):
        if name == "labels" and ast.unparse(call.func).endswith("dropped.labels"):
            lost.add(str(ast.literal_eval(call.args[0])))
    return {
        "meterhouse_agent_dropped_total": dropped,
        "meterhouse_agent_events_total": events - {f"counter_{Verdict.GROWTH}"},
        "meterhouse_collector_dropped_total": lost,
    }


def _calls(program: str) -> Iterator[tuple[ast.Call, str]]:
    for node in _nodes(program):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func).rpartition(".")[2]


def _subscripts(program: str) -> Iterator[tuple[str, str]]:
    for node in _nodes(program):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            holder = ast.unparse(node.value).rpartition(".")[2]
            if holder in {"dropped", "events"}:
                yield holder, str(node.slice.value)


def _nodes(program: str) -> Iterator[ast.AST]:
    for path in sorted((ROOT / program).rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _metrics() -> Iterator[str]:
    for metric, values in counted().items():
        if values != LABEL_VALUES[metric].keys():
            raise SystemExit(
                f"{metric}: {sorted(values ^ LABEL_VALUES[metric].keys())} has no text"
            )
    for title, holder in (
        ("agent", Metrics(CollectorRegistry())),
        ("collector", Telemetry(CollectorRegistry())),
    ):
        yield f"## Metrics of the {title}\n"
        if title == "agent":
            yield "On `/metrics` where the config has a `[metrics]` table.\n"
        else:
            yield "On `/metrics` beside the page.\n"
        labels = {
            one._name: one._labelnames  # noqa: SLF001 - the library offers no other way
            for one in vars(holder).values()
            if isinstance(one, MetricWrapperBase)
        }
        families = list(holder.registry.collect())
        yield table(
            ("metric", "type", "labels", "meaning"),
            (
                (
                    f"`{_name(family)}`",
                    family.type,
                    ", ".join(f"`{label}`" for label in labels.get(family.name, ())),
                    family.documentation,
                )
                for family in families
            ),
        )
        for family in families:
            texts = LABEL_VALUES.get(_name(family), {})
            if texts:
                label = labels[family.name][-1]
                yield f"Values of `{label}` in `{_name(family)}`:\n"
                yield table((label, "meaning"), ((f"`{v}`", text) for v, text in texts.items()))
    yield "The KPIs, over the window of the config; what has no value is absent:\n"
    answers = cast("Answers", _Known())
    yield table(
        ("metric", "type", "labels", "meaning"),
        (
            (
                f"`{family.name}`",
                family.type,
                ", ".join(f"`{label}`" for label in family.samples[0].labels),
                family.documentation,
            )
            for family in KpiMetrics(answers).collect()
        ),
    )


class _Known:
    """Answers of a site where everything is known, so that every KPI has a value."""

    site = "site"

    @staticmethod
    def snapshot() -> Snapshot:
        sums = dict.fromkeys(catalogue.ROLLUP_FIELD_NAMES, 1.0)
        sums |= {"installed_seconds": 5.0, "stranded_seconds": 0.0, "pue_unexpected_seconds": 0.0}
        basis = EnergyBasis(
            boundary_metered=True, it_metered=True, category=2, slowest_step_seconds=0.0
        )
        window = Window(seconds=1.0, basis=basis, currency="currency")
        return Snapshot(0, 1, kpis(sums, window=window, floor=0.0), sums, {})


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _samples() -> Iterator[str]:
    for title, command, kind, text in (
        (
            "Config of the agent",
            "meterhouse-agent sample-config",
            "agent",
            agent_command.sample_config(),
        ),
        (
            "Config of the collector",
            "meterhouse-collector sample-config",
            "collector",
            config.sample(),
        ),
        (
            "Site model",
            "meterhouse-collector sample-config --site",
            "site",
            load.sample(),
        ),
    ):
        yield f"## {title}\n"
        yield f"As `{command}` prints it.\n"
        yield f"```toml {kind}\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
