"""What an agent can read."""

from collections.abc import Iterator
from typing import Any

from docs.reference_parts.markdown import table
from meterhouse_agent import sources


def section() -> Iterator[str]:
    """Return the section of the sources."""
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
