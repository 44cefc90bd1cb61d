"""The table of results is what the records say."""

import re
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__("results")


def test_the_page_is_made_of_the_records(results: ModuleType) -> None:
    made = results.page(results.read_tables(results.RECORDS.read_text(encoding="utf-8")))
    assert results.PAGE.read_text(encoding="utf-8") == made, "run: python benchmarks/results.py"


def test_a_row_names_a_section_that_is_there(results: ModuleType) -> None:
    text = results.RECORDS.read_text(encoding="utf-8")
    cut = re.sub(r"^## nuclei, .*$", "## something else", text, flags=re.MULTILINE)
    with pytest.raises(ValueError, match=r"nuclei, 2026-11-24: there is no such section"):
        results.read_tables(cut)
