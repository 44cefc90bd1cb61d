"""The Chinese pages say what the English ones say, in the words of the glossary."""

import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IDEOGRAPH = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chinese_pages", ROOT / "scripts" / "chinese_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chinese_pages = script()
PAIRS: list[tuple[Path, Path]] = chinese_pages.twins()
GLOSSARY = ROOT / chinese_pages.GLOSSARY
CHINESE = sorted(page for folder in ("docs", "notebooks") for page in (ROOT / folder).glob("*.zh.md"))
CHINESE.append(ROOT / "README.zh-CN.md")
PHRASES = yaml.safe_load((ROOT / "scripts" / "chinese.yaml").read_text(encoding="utf-8"))
pairs = pytest.mark.parametrize(("page", "twin"), PAIRS, ids=[twin.name for _, twin in PAIRS])


def parts(page: Path) -> tuple[list[str], list[str]]:
    """Return the lines of code blocks and all others, without generated parts, comments and front matter."""
    code, others = list[str](), list[str]()
    fenced = indented = False
    before = ""
    for line in re.sub(r"\A---\n.*?\n---\n|<!--.*?-->", "", chinese_pages.text_of(page), flags=re.DOTALL).splitlines():
        indented = line.startswith("    ") and (indented or not before) or (indented and not line)
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or indented:
            code += [line] if line else []
        else:
            others.append(line)
        before = line
    return code, others


def code(page: Path) -> list[str]:
    """Return the lines of code blocks without their remarks: what follows ` # ` or three spaces."""
    return [re.sub(r"(?<=\S)(\s+#\s.*|\s{3,}.*)$", "", line) for line in parts(page)[0]]


def prose(page: Path) -> str:
    return "\n".join(parts(page)[1])


def spans(text: str) -> set[str]:
    return {" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)}


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<![\w.])\.?\d[\d,.]*(?<![,.])", re.sub(r"\]\([^)]*\)|`[^`]+`", "", text)))


def targets(page: Path) -> list[str]:
    """Return the pages that a page links to, but not its own translation."""
    own = chinese_pages.english_of(page).name
    found = re.findall(r"\]\(([^)#\s]+)", prose(page))
    return [target for target in found if chinese_pages.english_of(Path(target)).name != own]


def test_every_page_is_translated_as_it_is_now_or_listed_as_english_only() -> None:
    found = chinese_pages.complaints()
    assert not found, "\n".join(found)


def test_a_changed_page_is_found_and_stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "notebooks").mkdir()
    page, twin = tmp_path / "docs" / "one.md", tmp_path / "docs" / "one.zh.md"
    (tmp_path / "README.md").write_text("# Read\n")
    (tmp_path / "README.zh-CN.md").write_text("# 读\n")
    page.write_text("# One\n\nIt is\nshort.\n\n<!-- begin a -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(chinese_pages, "ROOT", tmp_path)
    monkeypatch.setattr(chinese_pages, "ENGLISH_ONLY", set[str]())
    assert len(chinese_pages.complaints()) == 2
    twin.write_text("---\nkey: value\n---\n\n# 一\n")
    for one in (twin, tmp_path / "README.zh-CN.md"):
        chinese_pages.stamp(one, chinese_pages.english_of(one))
    assert chinese_pages.complaints() == []
    page.write_text("# One\n\nIt is short.\n\n<!-- begin a -->\nnew\n<!-- end -->\n")
    assert chinese_pages.complaints() == []
    page.write_text("# One\n\nIt is long.\n")
    (complaint,) = chinese_pages.complaints()
    assert complaint.startswith("docs/one.zh.md ")
    assert complaint.endswith("--stamp docs/one.zh.md")
    chinese_pages.stamp(twin, page)
    assert chinese_pages.complaints() == []
    assert twin.read_text().startswith("---\nkey: value\n---\n\n<!-- translated from one.md, text ")
    monkeypatch.setattr(chinese_pages, "ENGLISH_ONLY", {"docs/one.md", "docs/two.md"})
    assert len(chinese_pages.complaints()) == 2


def test_every_chinese_page_translates_an_english_one() -> None:
    assert set(CHINESE) == {twin for _, twin in PAIRS} | {GLOSSARY}


@pairs
def test_code_is_the_same(page: Path, twin: Path) -> None:
    assert code(twin) == code(page)


@pairs
def test_numbers_and_names_of_code_are_the_same(page: Path, twin: Path) -> None:
    english, chinese = prose(page), prose(twin)
    assert spans(chinese) == spans(english)
    assert numbers(chinese) == numbers(english)


@pairs
def test_links_are_the_same_and_lead_to_chinese_pages(page: Path, twin: Path) -> None:
    linked = targets(twin)
    added = {"docs/glossary.md", "glossary.md", *(["choose.md"] if twin.name == "metrics.zh.md" else [])}
    assert {str(chinese_pages.english_of(Path(target))) for target in linked} - added == set(targets(page))
    for target in linked:
        assert not chinese_pages.twin_of(twin.parent / target).exists(), f"{target} has a Chinese page"


@pairs
def test_headings_and_tables_are_the_same(page: Path, twin: Path) -> None:
    shapes = [re.findall(r"^(#+ |\|(?=-)|\|(?!-))", prose(one), re.MULTILINE) for one in (page, twin)]
    assert shapes[0] == shapes[1]


@pairs
def test_each_page_links_to_the_other(page: Path, twin: Path) -> None:
    assert f"**English** · [中文]({twin.name})" in page.read_text(encoding="utf-8")
    assert f"[English]({page.name}) · **中文**" in twin.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_paragraphs_are_not_broken_within_a_sentence(page: Path) -> None:
    broken = re.findall(rf"^(?![|#`<]).*{IDEOGRAPH}$\n(?!- |\* |\d+\. |[|#`<\n*]|    ).*$", prose(page), re.MULTILINE)
    assert not broken, "a browser shows a gap where a line ends within a Chinese paragraph"


def ruled_out() -> dict[str, str]:
    """Return the words that the glossary rules out, with what it says instead."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    return {word: said for english, said, words in rows if english != "English" for word in words.split("、")}


@pytest.mark.parametrize("page", [page for page in CHINESE if page != GLOSSARY], ids=lambda page: page.name)
def test_pages_use_the_words_of_the_glossary(page: Path) -> None:
    text = re.sub("“[^”]*”", "", page.read_text(encoding="utf-8"))  # quoted: the words of others
    assert [f"{word}: {said}" for word, said in ruled_out().items() if word in text] == []


def test_phrases_use_the_words_of_the_glossary_and_the_same_numbers_and_names() -> None:
    assert len(ruled_out()) > 50
    for one in PHRASES:
        assert [f"{word}: {said}" for word, said in ruled_out().items() if word in one["zh"]] == []
        assert spans(one["en"]) == spans(one["zh"]), one
        assert numbers(one["en"]) == numbers(one["zh"]), one
