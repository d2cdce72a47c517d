"""The sample configs, as the programs print them."""

from collections.abc import Iterator

import meterhouse_agent.__main__ as agent_command
from meterhouse_collector import config
from meterhouse_collector.site import load


def section() -> Iterator[str]:
    """Return the sections of the configs and of the site model."""
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
