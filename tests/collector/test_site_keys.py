"""Every key of the site file is read by some code: one that says nothing would be believed."""

import ast
from pathlib import Path

import pytest

import meterhouse_collector
from meterhouse_collector.settings import Section
from meterhouse_collector.site.model import SiteModel
from tests.collector.test_site_model import sections_of

PACKAGE = Path(meterhouse_collector.__file__).parent


def all_sections(section: type[Section]) -> dict[str, type[Section]]:
    found = {section.__name__: section}
    for field in section.model_fields.values():
        for inner in sections_of(field.annotation):
            found |= all_sections(inner)
    return found


class _Reads(ast.NodeVisitor):
    """Gathers the attributes that are read, but in what a table checks of itself alone."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if not any("model_validator" in ast.unparse(each) for each in node.decorator_list):
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.found.add(node.attr)
        self.generic_visit(node)


def reads_of(text: str) -> set[str]:
    reads = _Reads()
    reads.visit(ast.parse(text))
    return reads.found


SECTIONS = all_sections(SiteModel)
READ = {name for path in PACKAGE.rglob("*.py") for name in reads_of(path.read_text("utf-8"))}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_read(section: str) -> None:
    assert set(SECTIONS[section].model_fields) - READ == set()


def test_what_only_a_table_checks_of_itself_is_not_read() -> None:
    validator = "@model_validator(mode='after')\ndef _check(self):\n    assert self.price\n"
    assert reads_of(validator) == set()
    assert reads_of("def cost(self):\n    self.paid = self.price\n") == {"price"}
