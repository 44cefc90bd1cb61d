from hypothesis import given
from hypothesis import strategies as st

from unetkit.reporting.markup import Html, breakable, facts, joined, prose, table, tag

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;"


def test_text_and_attributes_are_escaped_and_markup_is_kept() -> None:
    assert tag("p", HOSTILE, tag("b", "x")).markup == f"<p>{ESCAPED}<b>x</b></p>"
    assert tag("img", alt=HOSTILE).markup == f'<img alt="{ESCAPED}">'


@given(st.text())
def test_no_text_brings_a_tag_of_its_own(text: str) -> None:
    for made in (joined(text), prose(text), breakable(text), facts([(text, text)]), table(text, [text], [[text]])):
        own = {"<code>", "</code>", "<wbr>", "<dl>", "</dl>", "<dt>", "</dt>", "<dd>", "</dd>", "<tr>", "</tr>", "<td>"}
        own |= {"</td>", "</th>", "<caption>", "</caption>", "<thead>", "</thead>", "<tbody>", "</tbody>", "</table>"}
        rest = made.markup.replace('<table class="plain">', "").replace('<th scope="col">', "")
        for piece in own:
            rest = rest.replace(piece, "")
        assert "<" not in rest


def test_number_columns_and_marked_rows_carry_their_class() -> None:
    made = table("c", ["name", "value"], [["a", "1"], ["b", "2"]], numbers=[1], marked=[1]).markup
    assert made.count('class="number"') == 3
    assert '<tr class="marked"><td>b</td><td class="number">2</td></tr>' in made


def test_long_names_may_break_after_underscores_and_dots() -> None:
    assert breakable("soft_dice.x_").markup == "<code>soft_<wbr>dice.<wbr>x_</code>"


def test_backticks_become_fixed_letters() -> None:
    assert prose("as `norm` does").markup == "as <code>norm</code> does"
    assert Html("<b>").markup == joined(Html("<b>")).markup
