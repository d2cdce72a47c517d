"""Wrong arguments of the command line: one line that says what is wrong, and exit code 2."""

import pytest

from meterhouse_collector.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "meterhouse-collector: the following arguments are required: COMMAND; "),
        (("bill",), "meterhouse-collector: COMMAND: found 'bill', allowed: 'run', 'check', "),
        (("close", "2026-10"), "meterhouse-collector close: the following arguments are required"),
        (
            ("statement", "--by", "rack\nrow"),
            "meterhouse-collector statement: --by: found 'rack\\nrow', allowed: 'site', ",
        ),
        (("statement", "--from"), "meterhouse-collector statement: argument --from: expected one"),
        (("demo", "--port", "a\nb"), "meterhouse-collector demo: argument --port: found 'a\\nb'"),
        (
            ("close", "2026-10", "-c", "f", "more\nstill"),
            "meterhouse-collector: unrecognized arguments: more still; meterhouse-collector --help",
        ),
    ],
)
def test_it_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert (ended.value.code, printed.out) == (2, "")
    assert line.startswith(told)
