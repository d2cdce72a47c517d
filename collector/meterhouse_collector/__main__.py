"""The command ``meterhouse-collector``."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from meterhouse_collector import __version__, config, formula
from meterhouse_collector.app import Collector
from meterhouse_collector.check import check
from meterhouse_collector.commands import (
    close,
    enroll,
    explain,
    kpis,
    reconcile,
    rerate,
    statement,
    top,
)
from meterhouse_collector.commands.arguments import Parser
from meterhouse_collector.commands.books import UsageError
from meterhouse_collector.demo.command import add_arguments as add_demo_arguments
from meterhouse_collector.part import IntakePart
from meterhouse_collector.settings import Secret
from meterhouse_collector.settlement import invoices
from meterhouse_collector.site import load
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.init_influx import init_influx

_FAILED: Final = 1
_USAGE_ERROR: Final = 2
_USAGE_ERRORS: Final = (
    config.ConfigError,
    load.SiteModelError,
    formula.FormulaError,
    invoices.InvoiceError,
    UsageError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for a failure, 2 for a wrong config."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("gmqtt").setLevel(logging.CRITICAL)
    try:
        return int(options.do(options))
    except _USAGE_ERRORS as error:
        print("\n".join(error.faults), file=sys.stderr)
        return _USAGE_ERROR
    except (StoreUnavailableError, OSError) as error:
        print(error, file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="meterhouse-collector",
        description="Collect what agents measure; compute PUE, idle capacity and cost per token.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    common = Parser(add_help=False)
    common.add_argument(
        "--log-level",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="the least that is logged, on stderr; by default info",
    )
    with_config = Parser(add_help=False)
    with_config.add_argument(
        "-c",
        "--config",
        type=Path,
        required=True,
        metavar="FILE",
        help="the collector's config: TOML, as sample-config prints it",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", parents=[common, with_config], help="collect until stopped")
    run.set_defaults(do=_run)
    checked = commands.add_parser(
        "check",
        parents=[common, with_config],
        help="try what the config names",
    )
    checked.set_defaults(do=_check)
    init = commands.add_parser(
        "init-influx",
        parents=[common, with_config],
        help="make buckets, retention and least-privilege tokens, and say what was changed",
    )
    init.add_argument(
        "--operator-token-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="a token of InfluxDB that may make buckets and tokens; only read",
    )
    init.add_argument(
        "--grafana-token-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="where to write the token for Grafana, which may only read",
    )
    init.set_defaults(do=_init_influx)
    samples = commands.add_parser(
        "sample-config", parents=[common], help="print a config file to start from"
    )
    kind = samples.add_mutually_exclusive_group()
    kind.add_argument("--site", action="store_true", help="print a site model instead")
    kind.add_argument("--invoices", action="store_true", help="print a file of invoices instead")
    samples.set_defaults(do=_sample)
    formula.add_parser(commands, [common])
    enroll.add_parser(commands, [common])
    explain.add_parser(commands, [common])
    top.add_parser(commands, [common])
    for command in (kpis, statement, rerate, close, reconcile):
        command.add_parser(commands, [common, with_config])
    shown = commands.add_parser("demo", help="run a simulated site in one command")
    add_demo_arguments(shown)
    for choice in commands._choices_actions:  # noqa: SLF001 - argparse has no other way
        commands.choices[choice.dest].description = choice.help
    return parser


def _sample(options: argparse.Namespace) -> int:
    if options.invoices:
        text = invoices.sample()
    else:
        text = load.sample() if options.site else config.sample()
    print(text, end="")
    return 0


def _run(options: argparse.Namespace) -> int:
    loaded = config.load_config(options.config)
    collector = IntakePart(loaded) if loaded.role == "intake" else Collector(loaded)
    run_until_stopped(collector.run())
    return 0


def _check(options: argparse.Namespace) -> int:
    lines, good = asyncio.run(check(config.load_config(options.config)))
    print("\n".join(lines))
    return 0 if good else _FAILED


def _init_influx(options: argparse.Namespace) -> int:
    # The collector's token is made here, so the config's secrets cannot be there yet.
    influx = config.load_config(options.config, secrets=False).influx
    if influx is None or influx.token.file is None:
        fault = f"{options.config}: influx.token.file: is missing: the new token is written there"
        raise config.ConfigError([fault])
    try:
        operator_token = Secret(file=options.operator_token_file).read()
    except ValueError as error:
        raise config.ConfigError([f"--operator-token-file: {error}"]) from None
    lines = asyncio.run(
        init_influx(
            influx,
            operator_token,
            collector_token_file=influx.token.file,
            grafana_token_file=options.grafana_token_file,
        )
    )
    print("\n".join(lines))
    return 0


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends, or a signal asks it to."""

    async def supervised() -> None:
        task = asyncio.create_task(work, name="collector")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    uvloop.run(supervised())


if __name__ == "__main__":
    sys.exit(main())
