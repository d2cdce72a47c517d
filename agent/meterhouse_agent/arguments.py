"""Arguments of a command line: what is wrong with them is told in one line."""

import argparse
import re
from typing import Final, NoReturn

_CHOICE: Final = re.compile(r"argument (.+): invalid choice: (.+) \(choose from (.+)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says which argument is wrong, what was found and what is allowed, without the usage."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        choice = _CHOICE.fullmatch(message)
        if choice is not None:
            name, found, allowed = choice.groups()
            told = f"{name}: found {found}, allowed: {allowed}"
        else:
            told = f"{message}; {self.prog} --help says what is allowed"
        # What was typed may have more lines.
        self.exit(2, f"{self.prog}: {' '.join(told.split())}\n")
