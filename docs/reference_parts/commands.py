"""The commands of both programs, with their options."""

import argparse
from collections.abc import Iterator

import meterhouse_agent.__main__ as agent_command
import meterhouse_collector.__main__ as collector_command
from docs.reference_parts.markdown import table


def section() -> Iterator[str]:
    """Return the section of the commands."""
    yield "## Commands\n"
    yield "Exit codes: 0 done, 1 failed, 2 wrong config or arguments.\n"
    for program in (agent_command, collector_command):
        parser: argparse.ArgumentParser = program._parser()  # noqa: SLF001 - the only list of the commands
        yield f"### {parser.prog}\n"
        yield f"{parser.description}\n"
        rows = []
        for name, text, command in commands(parser):
            options = " ".join(filter(None, map(_option, command._actions)))  # noqa: SLF001 - argparse has no other way
            rows.append((f"`{name}`", text, f"`{options}`" if options else ""))
        yield table(("command", "does", "options"), rows)


def commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Return each command of a program: its name, its help, and its own parser."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
            texts = {choice.dest: choice.help for choice in action._choices_actions}  # noqa: SLF001 - argparse has no other way
            for name, command in action.choices.items():
                yield name, texts.get(name) or "", command


def _option(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):  # noqa: SLF001 - argparse has no other way
        return ""
    text = action.option_strings[-1] if action.option_strings else str(action.metavar)
    if action.nargs != 0 and action.option_strings:
        choices = None if action.choices is None else "|".join(str(c) for c in action.choices)
        text += f" {choices or action.metavar or action.dest.upper()}"
    return text if action.required else f"[{text}]"
