"""Tell which Chinese pages translate an English page that has changed since.

    python scripts/chinese_pages.py                                 # list what is behind; exit 1 if anything is
    python scripts/chinese_pages.py --stamp docs/tutorial.zh.md     # this page says what its English page says now

A Chinese page states a checksum of the English text that it was translated from. Line breaks do not count, nor what
`scripts/write_reference.py` writes: that script keeps those parts itself, from `scripts/chinese.yaml`.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GLOSSARY = "docs/glossary.zh.md"  # the only Chinese page without an English one
ENGLISH_ONLY = {
    f"docs/{name}.md"
    for name in (
        *("architecture", "confidence", "cpp", "crossval", "data-isbi2012", "docker", "export", "fiji"),
        *("images", "napari", "objects", "objects-in-training", "older-systems-table", "other-models"),
        *("parallel", "planning", "provenance", "reference", "results", "runs", "security", "serve", "storage"),
        *("trackers",),
    )
}
_STAMP = re.compile(r"<!-- translated from (\S+), text (\w+) -->")
_GENERATED = re.compile(r"<!-- begin .+? -->.*?<!-- end -->", re.DOTALL)


def main() -> int:
    """List the pages that are behind, or stamp those that are named; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--stamp", nargs="+", type=Path, metavar="PAGE", default=[], help="Chinese pages that are right"
    )
    known = {twin: page for page, twin in twins()}
    for twin in [path.resolve() for path in parser.parse_args().stamp]:
        if twin not in known:
            parser.error(f"{twin.name} translates no page of the project; one of: {', '.join(t.name for t in known)}")
        stamp(twin, known[twin])
    found = complaints()
    print("\n".join(found) or f"{len(twins())} Chinese pages say what the English ones say")
    return int(bool(found))


def english_pages() -> list[Path]:
    """Return every English page of the site, and the README."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.md"))]
    return [page for page in pages if not page.stem.endswith(".zh")]


def twin_of(page: Path) -> Path:
    """Return where the Chinese page of an English page lies, or would lie."""
    return page.with_suffix(".zh-CN.md" if page.stem == "README" else ".zh.md")


def english_of(twin: Path) -> Path:
    """Return where the English page of a Chinese page lies, or would lie."""
    return twin.with_name(re.sub(r"\.zh(-CN)?\.md$", ".md", twin.name))


def twins() -> list[tuple[Path, Path]]:
    """Return the pairs of an English and a Chinese page."""
    return [(page, twin_of(page)) for page in english_pages() if twin_of(page).exists()]


def text_of(page: Path) -> str:
    """Return a page without its generated parts."""
    return _GENERATED.sub("", page.read_text(encoding="utf-8"))


def checksum(page: Path) -> str:
    """Return the checksum of an English page that its translation states: 12 hexadecimal digits of SHA-256."""
    return hashlib.sha256(" ".join(text_of(page).split()).encode()).hexdigest()[:12]


def stamp(twin: Path, page: Path) -> None:
    """Write the checksum of the English page into the Chinese one: below the front matter, else at the top."""
    text = twin.read_text(encoding="utf-8")
    line = f"<!-- translated from {page.name}, text {checksum(page)} -->"
    front = re.match(r"---\n.*?\n---\n+|", text, re.DOTALL)
    assert front is not None
    text = _STAMP.sub(line, text) if _STAMP.search(text) else f"{front[0]}{line}\n\n{text[front.end() :]}"
    twin.write_text(text, encoding="utf-8")


def complaints() -> list[str]:
    """Return what is wrong, a line each: pages without a translation, and translations of other texts."""
    found: list[str] = []
    for page in english_pages():
        name, twin = page.relative_to(ROOT).as_posix(), twin_of(page).relative_to(ROOT).as_posix()
        translated = (ROOT / twin).exists()
        if translated == (name in ENGLISH_ONLY):
            listed = "is listed in" if translated else "is not listed in"
            has = "has" if translated else "has no"
            found.append(f"{name} {has} translation {twin} and {listed} ENGLISH_ONLY of scripts/chinese_pages.py")
        elif translated and _STAMP.findall((ROOT / twin).read_text(encoding="utf-8")) != [(page.name, checksum(page))]:
            found.append(
                f"{twin} translates another text than that of {name}: see what changed since (git log -p {name}), "
                f"bring the Chinese page up to date, then run: python scripts/chinese_pages.py --stamp {twin}"
            )
    for name in sorted(ENGLISH_ONLY):
        if not (ROOT / name).exists():
            found.append(f"{name} is listed in ENGLISH_ONLY of scripts/chinese_pages.py, but there is no such page")
    return found


if __name__ == "__main__":
    sys.exit(main())
