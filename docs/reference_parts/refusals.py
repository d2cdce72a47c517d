"""The reasons for which the collector refuses, and whether each is final."""

import ast
from collections.abc import Iterator
from typing import Final

from docs.reference_parts.markdown import table
from docs.reference_parts.syntax import calls
from meterhouse_agent import wire
from meterhouse_collector.rows import POLICY_DAYS

# What each reason means and what to do; the test of this page compares the keys with the code.
REFUSALS: Final = {
    "bug": (
        "the collector met an error of its own in it",
        "read the collector's log and report it; the agent keeps the report and sends it again",
    ),
    "foreign": (
        "it names another site or node than its topic, or what its agent may not read",
        "compare the agent's `site` and `node` with the broker's user; see `readers` of the site",
    ),
    "future": (
        "the interval lies more than a minute ahead of the collector's clock",
        "check time synchronisation on both machines; the agent sends it again",
    ),
    "implausible": (
        "an amount that no machine can draw or make in the time, or a time far from the report's",
        "look for it in the collector's log; check the factor of the meter's register",
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
    "quota": (
        (
            "the node, or all nodes together, bring more names of meters, engines or models than "
            "are kept beside those of the site model"
        ),
        "look who invents names; put real ones into the site model, which are not counted",
    ),
    "rate": (
        "the node sends more, or larger, reports than are looked at",
        "an honest agent cannot; look what else has its key or password",
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
        (
            "more nodes than the collector keeps, or more names of devices and models than one "
            "node or all may bring"
        ),
        "look who invents names; put models into the site model, which are not counted",
    ),
    "status_rate": (
        "the node sends more statuses than are looked at",
        "an honest agent cannot; look what else has its key or password",
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


def section() -> Iterator[str]:
    """Return the section of the refusal reasons."""
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
    for call, name in calls("collector"):
        final = [word.value for word in call.keywords if word.arg == "final"]
        if not (final and name in {"_Refused", "_count"}):
            continue
        if isinstance(call.args[0], ast.Constant):
            found[str(call.args[0].value)] = isinstance(final[0], ast.Constant) and bool(
                final[0].value
            )
    return found
