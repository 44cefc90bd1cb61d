import re

from hypothesis import given
from hypothesis import strategies as st

from unetkit.reporting.html import Picture, Table, breakable, prose, render

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def drawn(table: Table, *, title: str = "t", name: str = "n") -> str:
    return render("checks.html", title, summary=[(name, name)], found=[], checked=table)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r")))
def test_no_text_brings_a_tag_of_its_own(text: str) -> None:
    plain = drawn(Table("x", ["x"], [["x"]]), title="x", name="x")
    made = drawn(Table(text, [text], [[text]]), title=text, name=text)
    assert re.findall(r"<[^>]*>", made) == re.findall(r"<[^>]*>", plain)


@given(st.text())
def test_marked_up_names_bring_no_tag_but_their_own(text: str) -> None:
    for made in (breakable(text), prose(text)):
        assert "<" not in re.sub(r"</?code>|<wbr>", "", made)


def test_text_is_escaped_in_attributes() -> None:
    class Shown:
        names, pictures = "", (Picture(b"\x89PNG", HOSTILE),)

        class finding:
            found = advice = "x"

    class Group:
        title, checks = "Errors", (("masks", (Shown,)),)

    made = render("checks.html", "t", summary=[], found=[Group], checked=Table("c", [], []))
    assert 'alt="&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;"' in made


def test_number_columns_and_marked_rows_carry_their_class() -> None:
    made = drawn(Table("c", ["name", "value"], [["a", "1"], ["b", "2"]], numbers=[1], marked=[1]))
    assert made.count('class="number"') == 3
    assert '<tr class="marked"><td>b</td><td class="number">2</td></tr>' in made


def test_long_names_may_break_after_underscores_and_dots() -> None:
    assert breakable("soft_dice.x_") == "<code>soft_<wbr>dice.<wbr>x_</code>"


def test_backticks_become_fixed_letters() -> None:
    assert prose("as `norm` does") == "as <code>norm</code> does"


def test_pictures_say_what_they_are() -> None:
    assert Picture(b"\x89PNG..", "").url.startswith("data:image/png;base64,")
    assert Picture(b"<svg/>", "").url.startswith("data:image/svg+xml;base64,")
