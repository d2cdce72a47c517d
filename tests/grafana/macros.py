"""What Grafana 11 does to an InfluxQL query before the database sees it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

ALL: Final = "$__all"
_VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+):raw\}")
_SPECIAL: Final = re.compile(r"[\\^$*+?.()|\[\]{}/]")


def escaped(value: str) -> str:
    """Escape a value as Grafana does for a regular expression."""
    return _SPECIAL.sub(r"\\\g<0>", value)


def interpolate(
    query: str,
    *,
    start_seconds: int,
    end_seconds: int,
    interval_seconds: int,
    choices: Mapping[str, str | Sequence[str]],
) -> str:
    """Replace variables, then macros.

    In the browser: a variable of one value becomes that value, escaped because all of ours stand
    in regular expressions; one of several values becomes ``(a|b)``, each escaped; *All* becomes
    the variable's own pattern, which is ``.*``; one that is ``raw`` is put in as it is;
    ``$__from`` and ``$__to`` are milliseconds. On the server: ``$timeFilter``, whose end is
    inclusive, ``$__interval_ms`` and ``$__interval``.
    """
    start, end = start_seconds * 1000, end_seconds * 1000

    def value(match: re.Match[str]) -> str:
        if match[2] is not None:
            return str(choices[match[2]])
        name = match[1]
        if name in {"__from", "__to"}:
            return str(start if name == "__from" else end)
        choice = choices.get(name)
        if choice is None:
            return match[0]
        if choice == ALL:
            return ".*"
        if isinstance(choice, str):
            return escaped(choice)
        return f"({'|'.join(map(escaped, choice))})"

    text = _VARIABLE.sub(value, query)
    text = text.replace("$timeFilter", f"time >= {start}ms and time <= {end}ms")
    text = text.replace("$__interval_ms", str(interval_seconds * 1000))
    return text.replace("$__interval", f"{interval_seconds}s")
