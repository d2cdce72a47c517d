"""The KPIs, the fields they are made of, and the buckets these are kept in."""

from collections.abc import Iterable, Iterator

from docs.reference_parts.markdown import table
from meterhouse_collector.formula import inputs_of
from meterhouse_collector.kpi import catalogue
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.kpis import KPIS
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.store.init_influx import SHARD_DAYS


def section() -> Iterator[str]:
    """Return the sections of KPIs, fields and buckets."""
    yield from _catalogue()
    yield from _formulas()
    yield from _buckets()


def _catalogue() -> Iterator[str]:
    yield "## KPIs\n"
    yield (
        "Each is a ratio of two sums over one window, times the factor in its formula.\n"
        "What they mean, and when they have no value: [price.md](price.md).\n"
    )
    for kpi in LIVE_KPIS:
        yield f"### {kpi.name}\n"
        yield table(
            ("", ""),
            (
                ("unit", kpi.unit),
                ("formula", kpi.formula),
                ("numerator", f"`{kpi.numerator}`"),
                ("denominator", f"`{kpi.denominator}`"),
                ("after", kpi.source),
                *((("needs", f"in the site model: {kpi.needs}"),) if kpi.needs else ()),
            ),
        )
    yield "## Rollup fields\n"
    yield (
        "Measurement `rollup` of the policy `live`: one row for each group and interval.\n"
        "A row always has all fields, as floats.\n"
        "Device-seconds add up over devices, seconds do not.\n"
    )
    yield _fields(catalogue.ROLLUP_FIELDS)
    yield (
        "In the same row of groups with a served model, and 0 where nothing was observed; they are "
        "never added up, so a longer window takes its own from buckets:\n"
    )
    yield _fields(catalogue.QUANTILE_FIELDS)
    yield "## Detail fields\n"
    yield "Measurement `accelerator`, tagged site, node, device, vendor, accelerator_model:\n"
    yield _fields((*catalogue.DETAIL_FIELDS, catalogue.DETAIL_STATE))
    yield "Measurement `host`, tagged site and node:\n"
    yield _fields(catalogue.HOST_FIELDS)
    yield "Measurement `sensor`, tagged site, cluster, sensor and kind:\n"
    yield _fields((*catalogue.SENSOR_FIELDS, *catalogue.SENSOR_BOUNDS))
    yield "Measurement `engine`, tagged site, engine and served model:\n"
    yield _fields(catalogue.QUEUE_FIELDS)


def _formulas() -> Iterator[str]:
    yield "## Formulas\n"
    yield (
        "Each is computed by `meterhouse-collector formula NAME` from a JSON object of its inputs "
        "on stdin, by the function that production calls.\n"
        "An input may be given in another unit of its quantity: `facility_kwh` for "
        "`facility_joules`.\n"
    )
    yield table(
        ("name", "unit", "formula", "numerator", "denominator", "inputs", "after"),
        (
            (
                f"`{kpi.name}`",
                kpi.unit,
                kpi.formula,
                kpi.numerator,
                kpi.denominator,
                "; ".join(f"`{line}`" for line in inputs_of(FORMULAS[kpi.name])),
                kpi.source,
            )
            for kpi in KPIS
        ),
    )


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
