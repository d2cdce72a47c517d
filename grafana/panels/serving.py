"""Panels of what was served: tokens."""

from typing import Final

from grafana.influxql import Scope, rollup_query
from grafana.look import SHORT, Size, colour, lines, override, tiles
from grafana.panels.placed import Placed

_TEXT: Final = "As engines report them; input includes what was read from a cache."
_NO_VALUE: Final = "no engine"
# Without an engine there is nothing to count, which is not the same as having counted none.
_COUNTED: Final = "(engine_installed_seconds + input_tokens + output_tokens) > 0"


def panels() -> list[Placed]:
    """Return the tile of the window's tokens."""
    columns = {"input": "input_tokens", "output": "output_tokens"}
    query = rollup_query(columns, where=_COUNTED, scope=Scope.GROUPS)
    panel = tiles("Tokens", _TEXT, [query], unit=SHORT, decimals=2, no_value=_NO_VALUE)
    return [Placed(panel, Size.WIDE_TILE)]


def rate() -> Placed:
    """Return tokens per second over time."""
    query = rollup_query(
        {
            "input": "input_tokens / interval_seconds",
            "output": "output_tokens / interval_seconds",
        },
        where=f"interval_seconds > 0 AND {_COUNTED}",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = f"Tokens / seconds. {_TEXT}"
    panel = lines("Tokens per second", text, [query], unit=SHORT, no_value=_NO_VALUE)
    override(panel, {"input": [colour("free")], "output": [colour("active")]})
    return Placed(panel, Size.HALF)
