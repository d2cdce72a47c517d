"""Builds the rules of Prometheus: ``python -m deploy.prometheus.build`` writes them.

Most rules follow what the collector found, so the limits and times are those of the site file; the
others compare a metric themselves.
"""

# ruff: noqa: INP001 - it needs the folder above, so it runs as a module and is no script

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meterhouse_collector.alerts.catalogue import GROUPS
from meterhouse_collector.alerts.catalogue_row import AlertRow, Unit
from meterhouse_collector.alerts.metrics import FIRING, LIMIT, VALUE
from meterhouse_collector.alerts.words import Links, board_link, runbook_link

TARGET: Final = Path(__file__).parent / "meterhouse.rules.yml"
_HEAD: Final = """\
# Written by python -m deploy.prometheus.build from the alert catalogue: change that, not this file.
# Most alerts fire as the collector's own do: their limits and times are those of the site file.
"""
_FORMATS: Final[dict[Unit, str]] = {
    "ratio": "{} | humanizePercentage }}}}",
    "number": '{} | printf "%.3g" }}}}',
    "watts": "{} | humanize }}}}W",
    "celsius": '{} | printf "%.0f" }}}} °C',
    "seconds": "{} | humanizeDuration }}}}",
    "days": '{} | printf "%.0f" }}}} days',
    "devices": '{} | printf "%.0f" }}}} devices',
    "errors": '{} | printf "%.0f" }}}} errors',
    "quarters": '{} | printf "%.0f" }}}} quarters',
    "money": '{} | printf "%.2f" }}}}',
    "money per hour": '{} | printf "%.2f" }}}} per hour',
}


def rules() -> str:
    """Return the text of the file."""
    lines = [_HEAD + "groups:"]
    for name, rows in GROUPS.items():
        lines += [f"  - name: meterhouse_{name}", "    interval: 15s", "    rules:"]
        for row in rows:
            lines += _rule(row)
    return "\n".join(lines) + "\n"


def _rule(row: AlertRow) -> Iterator[str]:
    yield f"      - alert: {row.name}"
    yield f"        expr: {_text(expression(row))}"
    if row.promql is not None:
        yield f"        for: {row.for_seconds:.0f}s"
        yield f"        labels: {{severity: {row.severity}}}"
    yield "        annotations:"
    yield f"          summary: {_text(_summary(row))}"
    yield f"          compares: {_text(row.compares)}"
    yield f"          dashboard_url: {_text(board_link(row, Links(), _site(row)))}"
    yield f"          runbook_url: {_text(runbook_link(row, Links()))}"


def _site(row: AlertRow) -> str:
    # What the collector says of itself has no site.
    return "" if row.promql is not None and "site" not in row.promql else "{{ $labels.site }}"


def expression(row: AlertRow) -> str:
    """Return what Prometheus asks.

    What the collector found stands while nothing is known: a KPI without a value resolves nothing.
    """
    if row.promql is None:
        of = f'{{alert="{row.name}"}}'
        return f"{VALUE}{of} and on (site, rule, subject) {FIRING}{of} == 1"
    sign = ">" if row.side == "above" else "<"
    return f"{row.promql} {sign} {row.limit:g}"


def _summary(row: AlertRow) -> str:
    figure = _FORMATS[row.unit]
    value = figure.format("{{ $value")
    if row.promql is not None:
        return row.summary.format(subject="the collector", value=value, limit=_plain(row))
    asked = f"`{LIMIT}{{rule=%q,site=%q,subject=%q}}`"
    limit = (
        f"{{{{ with printf {asked} $labels.rule $labels.site $labels.subject | query }}}}"
        f"{figure.format('{{ . | first | value')}{{{{ end }}}}"
    )
    return row.summary.format(subject="{{ $labels.subject }}", value=value, limit=limit)


def _plain(row: AlertRow) -> str:
    return f"{row.limit:g} s" if row.unit == "seconds" else f"{row.limit:g}"


def _text(text: str) -> str:
    # A text of JSON is one of YAML.
    return json.dumps(text, ensure_ascii=False)


def main() -> None:
    """Write the file."""
    TARGET.write_text(rules(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")


if __name__ == "__main__":
    main()
