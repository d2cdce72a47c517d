"""A parser of InfluxDB's line protocol of the tests' own, to read back what was written."""

Value = float | int | str | bool


def take(text: str, ends: str) -> tuple[str, str]:
    """Return what stands before the first unescaped one of some characters, and the rest."""
    taken = []
    position = 0
    while position < len(text) and text[position] not in ends:
        if text[position] == "\\" and text[position + 1 : position + 2] in {",", "=", " "}:
            position += 1
        taken.append(text[position])
        position += 1
    return "".join(taken), text[position:]


def take_string(text: str) -> tuple[str, str]:
    """Return a quoted text without its quotes, and the rest."""
    taken = []
    position = 1
    while text[position] != '"':
        if text[position] == "\\" and text[position + 1] in '"\\':
            position += 1
        taken.append(text[position])
        position += 1
    return "".join(taken), text[position + 1 :]


def value_of(text: str) -> Value:
    """Return the value of a field that is no text."""
    if text in {"True", "False"}:
        return text == "True"
    return int(text[:-1]) if text.endswith("i") else float(text)


def parse(line: bytes) -> tuple[str, dict[str, str], dict[str, Value], int]:
    """Return measurement, tags, fields and time of one line."""
    measurement, rest = take(line.decode(), ", ")
    tags = {}
    while rest.startswith(","):
        key, rest = take(rest[1:], "=")
        tags[key], rest = take(rest[1:], ", ")
    fields: dict[str, Value] = {}
    while rest[0] in " ," and "=" in rest:
        key, rest = take(rest[1:], "=")
        if rest[1] == '"':
            fields[key], rest = take_string(rest[1:])
        else:
            text, rest = take(rest[1:], ", ")
            fields[key] = value_of(text)
    return measurement, tags, fields, int(rest)
