"""What the grid gave of a net that meters count: one rule for bills and for figures."""

from collections.abc import Iterable
from decimal import Decimal

from meterhouse_collector.money.decimals import CONTEXT


def grid_rest(net: Decimal, parts: Iterable[tuple[str, Decimal]]) -> Decimal:
    """Return the net less what each other source gave of it; what was exported left it and came in.

    ``parts`` are kinds of source and amounts in the unit of the net, which must count each of them:
    grid + PPA + on site + fuel + purchased cooling + storage - export (``definitions.md``, Energy).
    """
    rest = net
    for kind, amount in parts:
        rest = (CONTEXT.add if kind == "export" else CONTEXT.subtract)(rest, amount)
    return rest
