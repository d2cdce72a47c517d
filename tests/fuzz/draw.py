"""Values drawn from bytes: the same bytes always give the same values, an empty rest gives zeros.

So whatever mutates the bytes, atheris or a file of the corpus, makes up whole structures.
"""

import struct
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

# Where parsers go wrong, and what escaping is about.
_LETTERS: Final = 'ab-_0 \\,="\n\r\t\x00\x7f%{}ä\U0001f525'
_NUMBERS: Final = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, 1e-300, 1e15, 1.1e15, 1e300),
    *(float("nan"), float("inf"), float("-inf"), 2.0**53, 5000.0),
)


def check_error(error: Exception, longest: int) -> None:
    """Assert that an error says what was found, and not all of what was sent."""
    assert 0 < len(str(error)) <= longest, error


class Draw:
    """Takes values from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return max(0, len(self._data) - self._at)

    def take(self, count: int) -> bytes:
        """Take bytes, fewer at the end."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(self.left)

    def below(self, bound: int) -> int:
        """Take a small whole number."""
        return int.from_bytes(self.take(1), "big") % bound

    def integer(self, size: int = 8) -> int:
        """Take a signed whole number of some bytes."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def chance(self, of: int = 2) -> bool:
        """Be true once of so many times."""
        return self.below(of) == of - 1

    def pick(self, values: Sequence[T]) -> T:
        """Take one of some values."""
        return values[self.below(len(values))]

    def number(self) -> float:
        """Take a float: any, or one of those that matter."""
        if self.chance():
            return float(struct.unpack(">d", self.take(8).ljust(8, b"\0"))[0])
        return self.pick(_NUMBERS)

    def text(self, longest: int = 12) -> str:
        """Take a text: of the letters that matter, or any UTF-8."""
        if self.chance():
            return self.take(self.below(longest + 1)).decode(errors="replace")
        return "".join(self.pick(_LETTERS) for _ in range(self.below(longest + 1)))
