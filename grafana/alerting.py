"""Builds Grafana's alert rules: ``python -m grafana.alerting`` writes the provisioning files.

Most rules follow what the collector found, by its points of ``event``, so that limits and times are
those of the site file; the others compare sums of the rollup, or readings of the detail. A rule
whose query has no value keeps its state.
"""

import json
from pathlib import Path
from typing import Final

from grafana.alert_queries import ASKS, Query, following
from grafana.influxql import DATA_SOURCE
from meterhouse_collector.alerts.catalogue import GROUPS
from meterhouse_collector.alerts.catalogue_row import AlertRow, Unit
from meterhouse_collector.alerts.words import Links, board_link, figure, runbook_link

Json = dict[str, object]

FOLDER: Final = Path(__file__).parent / "provisioning" / "alerting"
# While the store is down nothing is written that a query could find: collector_silent says it.
NOT_HERE: Final = ("store_down",)
INTERVAL: Final = "1m"
DAY_EVALUATIONS: Final = 1440
KEPT: Final = ("coverage", "delivered")
_EXPRESSION: Final = "__expr__"


_FORMATS: Final[dict[Unit, str]] = {
    "ratio": "{{{{ humanizePercentage {} }}}}",
    "number": '{{{{ printf "%.3g" {} }}}}',
    "watts": "{{{{ humanize {} }}}}W",
    "celsius": '{{{{ printf "%.0f" {} }}}} °C',
    "seconds": "{{{{ humanizeDuration {} }}}}",
    "days": '{{{{ printf "%.0f" {} }}}} days',
    "devices": '{{{{ printf "%.0f" {} }}}} devices',
    "errors": '{{{{ printf "%.0f" {} }}}} errors',
    "quarters": '{{{{ printf "%.0f" {} }}}} quarters',
    "money": '{{{{ printf "%.2f" {} }}}}',
    "money per hour": '{{{{ printf "%.2f" {} }}}} per hour',
}


def files() -> dict[str, str]:
    """Return the text of every file by its name."""
    made = {
        "rules.json": {"apiVersion": 1, "groups": [_group(name) for name in GROUPS]},
        "contact-points.json": contact_points(),
        "policies.json": policies(),
    }
    return {name: json.dumps(each, indent=2) + "\n" for name, each in made.items()}


def contact_points() -> Json:
    """Return two webhooks, one for what wakes people and one for the rest."""
    return {
        "apiVersion": 1,
        "contactPoints": [
            {
                "orgId": 1,
                "name": f"meterhouse-{name}",
                "receivers": [
                    {
                        "uid": f"meterhouse-{name}",
                        "type": "webhook",
                        "settings": {"url": f"$METERHOUSE_{name.upper()}_URL"},
                    }
                ],
            }
            for name in ("page", "ticket")
        ],
    }


def policies() -> Json:
    """Return the notification policy: pages at once and often, tickets gathered."""
    by_severity = [
        {
            "receiver": "meterhouse-page",
            "object_matchers": [["severity", "=", "page"]],
            "group_wait": "10s",
            "repeat_interval": "1h",
        },
        {
            "receiver": "meterhouse-ticket",
            "object_matchers": [["severity", "=", "info"]],
            "repeat_interval": "7d",
        },
    ]
    root = {
        "orgId": 1,
        "receiver": "meterhouse-ticket",
        "group_by": ["grafana_folder", "alertname", "site"],
        "group_wait": "1m",
        "group_interval": "5m",
        "repeat_interval": "1d",
        "routes": by_severity,
    }
    return {"apiVersion": 1, "policies": [root]}


def _group(name: str) -> Json:
    rows = [row for row in GROUPS[name] if row.name not in NOT_HERE]
    return {
        "orgId": 1,
        "name": f"meterhouse-{name}",
        "folder": "Meterhouse",
        "interval": INTERVAL,
        "rules": [rule(row) for row in rows],
    }


def rule(row: AlertRow) -> Json:
    """Return a rule: queries, their last values, and the threshold that decides."""
    follows = row.rollup is None
    data = _following(row) if follows else _comparing(row)
    silent = row.rollup == "rows"
    return {
        "uid": f"meterhouse-{row.name.replace('_', '-')}",
        "title": row.name,
        "condition": "C",
        "data": data,
        # What the collector found has lasted already.
        "for": "0s" if follows else f"{row.for_seconds:.0f}s",
        # A KPI without a value neither fires nor resolves; only silence itself is an alert.
        "noDataState": "Alerting" if silent else "KeepLast",
        "execErrState": "Error",
        # That of one site is missing while others have some: it keeps its state, for a day.
        **({"missing_series_evals_to_resolve": DAY_EVALUATIONS} if row.rollup in KEPT else {}),
        "labels": {"severity": "{{ .Labels.urgency }}" if follows else row.severity},
        "annotations": {
            "summary": _summary(row, follows=follows),
            "compares": row.compares,
            "dashboard_url": board_link(row, Links(), "{{ .Labels.site }}"),
            "runbook_url": runbook_link(row, Links()),
        },
        "isPaused": False,
    }


def _following(row: AlertRow) -> list[Json]:
    parts: list[Json] = []
    for field, ref in (("firing", "A"), ("value", "V"), ("limit", "L")):
        parts.append(_query(ref, following(row, field)))
        parts.append(_reduce("B" if ref == "A" else f"{ref}1", ref))
    return [*parts, _threshold("gt", 0.0)]


def _comparing(row: AlertRow) -> list[Json]:
    if row.rollup is None or row.limit is None:
        raise ValueError(f"{row.name}: nothing to compare")
    compared = [_query("A", ASKS[row.rollup]), _reduce("B", "A")]
    if row.rollup == "rows":
        # Steps of as long as the limit are counted, and one without any row is silent.
        return [*compared, _threshold("lt", 1.0)]
    return [*compared, _threshold("gt" if row.side == "above" else "lt", row.limit)]


def _query(ref: str, query: Query) -> Json:
    return {
        "refId": ref,
        "datasourceUid": DATA_SOURCE.uid,
        "relativeTimeRange": {"from": query.back_seconds, "to": query.until_seconds},
        "model": {
            "refId": ref,
            "datasource": {"type": DATA_SOURCE.type_val, "uid": DATA_SOURCE.uid},
            "query": query.text,
            "rawQuery": True,
            "resultFormat": "time_series",
            "alias": "$col",
            "intervalMs": 1000,
            "maxDataPoints": 43_200,
        },
    }


def _reduce(ref: str, of: str) -> Json:
    return _expression(
        ref,
        {
            "type": "reduce",
            "expression": of,
            "reducer": "last",
            # A step without a value is left out.
            "settings": {"mode": "dropNN"},
        },
    )


def _threshold(sign: str, limit: float) -> Json:
    evaluator = {"type": sign, "params": [limit]}
    return _expression(
        "C", {"type": "threshold", "expression": "B", "conditions": [{"evaluator": evaluator}]}
    )


def _expression(ref: str, model: Json) -> Json:
    return {
        "refId": ref,
        "datasourceUid": _EXPRESSION,
        "relativeTimeRange": {"from": 0, "to": 0},
        "model": {
            "refId": ref,
            "datasource": {"type": _EXPRESSION, "uid": _EXPRESSION},
            **model,
        },
    }


def _summary(row: AlertRow, *, follows: bool) -> str:
    # Without "$", which the provisioning of Grafana takes for a variable of its environment.
    form = _FORMATS[row.unit]
    if row.rollup == "rows":
        text = f"The collector has rolled nothing up for {figure(row.limit or 0.0, row.unit)}"
        return f"{text} or longer (site {{{{ .Labels.site }}}})"
    if not follows:
        subject = "{{ with .Labels.node }}node {{ . }} of {{ end }}site {{ .Labels.site }}"
        limit = figure(row.limit or 0.0, row.unit)
        return row.summary.format(
            subject=subject, value=form.format(".Values.B.Value"), limit=limit
        )
    return row.summary.format(
        subject="{{ .Labels.subject }}",
        value=form.format(".Values.V1.Value"),
        limit=form.format(".Values.L1.Value"),
    )


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        path = FOLDER / name
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
