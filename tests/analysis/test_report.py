"""A report holds its text, tables and pictures, and nothing outside of it."""

import base64
import re
from html.parser import HTMLParser

import pytest

from hybridlit.analysis.report import Report, code
from hybridlit.cli.report_sections import _left_out

markdown = pytest.importorskip("markdown", reason="analysis extra")
figures = pytest.importorskip("matplotlib.figure", reason="analysis extra")


@pytest.fixture
def report():
    report = Report("A < B")
    report.text("## Costs\n\n| part | ms |\n|---|---|\n| `quantum` | 3 |\n\nIt *helps*.")
    figure = figures.Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    report.figure(figure, 'Time & "cost"')
    figure.clear()
    return report


def test_html_is_one_page(report, tmp_path):
    assert report.write(tmp_path / "new" / "report.html") == [tmp_path / "new" / "report.html"]
    page = (tmp_path / "new" / "report.html").read_text()
    assert "<title>A &lt; B</title>" in page and "<td><code>quantum</code></td>" in page
    assert "Time &amp; &quot;cost&quot;" in page
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert page.count("src=") == 1 and not re.search("https?:", page)


def test_markdown_has_pictures_beside_it(report, tmp_path):
    text, picture = report.write(tmp_path / "report.md")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert text.read_text().startswith("# A < B\n\n## Costs")
    assert f"]({picture.name})" in text.read_text()


def test_every_section_can_be_linked_to():
    report = Report("Report")
    report.text("In *short*.\n\n### Next")
    for heading in ("One & `two`", "One two", "Überall", "---"):
        report.text(f"## {heading}\n\nText.")
    page = report.html()
    names = re.findall(r'<h[2-4] id="([^"]+)">', page)
    assert names == ["next", "one-two", "one-two-2", "berall", "section"]
    links = re.findall(r'<a href="#([^"]+)">([^<]+)</a>', page)
    assert [name for name, _ in links] == names[1:] and links[0][1] == "One &amp; two"
    assert page.index("<em>short</em>") < page.index("<nav") < page.index("<h2")


def test_a_section_that_fails_takes_nothing_from_the_others():
    report = Report("Report")
    with report.section("Empty"):
        pass
    with report.section("Whole"):
        report.text("All.")
    with pytest.warns(UserWarning, match="Not made: the section 'Half'"), report.section("Half"):
        report.text("Some.")
        raise RuntimeError("no <more>")
    assert str(report) == (
        "# Report\n\n## Whole\n\nAll.\n\n## Half\n\nSome.\n\nNot made: the section 'Half' "
        "(`no <more>`).\n"
    )
    with pytest.raises(KeyboardInterrupt), report.section("Stopped"):
        raise KeyboardInterrupt


def test_a_picture_that_fails_is_said_and_leaves_the_rest():
    report = Report("Report")
    with pytest.warns(UserWarning, match="Not drawn: A circle: ZeroDivisionError"):
        report.figure(lambda: 1 / 0, "A circle.")
    with pytest.warns(UserWarning, match="Not said: some of this part: ZeroDivisionError"):
        report.text(lambda: str(1 / 0))
    report.text(lambda: "Said.")
    report.figure(lambda: figures.Figure(figsize=(2, 1)), "A square.")
    assert "Not drawn: A circle (`division by zero`)." in str(report)
    page = report.html()
    assert page.count("<img") == 1 and 'alt="A square."' in page


def test_a_figure_has_the_size_that_it_has_on_paper():
    """So that text in it is as large as text beside it, on screens of any density."""
    report = Report("Report")
    figure = figures.Figure(figsize=(4, 2))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()
    figure.text(0, 0, "a"), figure.text(1, 1, "b")
    report.figure(figure, "A figure.")
    width = int(re.search(r'width="(\d+)"', report.html())[1])
    assert width == pytest.approx(4 * 96, abs=30)


def test_another_suffix_is_refused(report, tmp_path):
    with pytest.raises(ValueError, match=r"must end in .html or .md, got 'report.pdf'"):
        report.write(tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "x`<img src=http://a onerror=alert(1)>`",
        "``<b>",
        "<http://a.b>",
        "<a.b@c.d>",
        "[here](javascript:alert(1))",
        "![](http://a/b.png)",
        "[a][b]\n\n[b]: http://a",
        "line\n\n<b>",
        "</code></p><svg onload=alert(1)>",
        "\\`<i>\\`",
        "```\n<b>\n",
    ],
)
@pytest.mark.parametrize("place", ["title", "text", "code", "cell"])
def test_names_are_never_markup(name, place, tmp_path):
    def content(shown):
        return {
            "title": "Text.",
            "text": f"The class {shown} is *left* out.",
            "code": f"### {code(shown)}\n\nIt is *left* out, {code(shown)}.",
            "cell": f"| a | b |\n|---|---|\n| {shown} | {code(shown)} |",
        }[place]

    def page(shown):
        report = Report(shown if place == "title" else "Report")
        report.text(content(shown))
        return report

    allowed = {"p", "em", "h1", "h3", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    frame = Tags(Report("Report").html())
    tags = Tags(page(name).html())
    assert set(tags.names) <= allowed | set(frame.names)
    assert [pair for pair in tags.attributes if pair[0] != "id"] == frame.attributes
    assert all(re.fullmatch("[a-z0-9-]+", value) for key, value in tags.attributes if key == "id")
    text = page(name).write(tmp_path / "report.md")[0].read_text()
    # another renderer, one that lets HTML, links and images through
    tags = Tags(markdown.markdown(text, extensions=["tables", "fenced_code"]))
    assert set(tags.names) <= allowed and not tags.attributes


class Tags(HTMLParser):
    """The tags of a page, and their attributes but those that every page has."""

    def __init__(self, page):
        super().__init__()
        self.names, self.attributes = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [a for a in attrs if a[0] not in ("charset", "lang", "style")]


def test_numbers_and_brackets_stay_as_they_are():
    report = Report("Report")
    report.text("p <0.001 in [0, 1] (a `list[int]`) & <3, [a] (b)")
    assert "<p>p &lt;0.001 in [0, 1] (a <code>list[int]</code>) &amp; &lt;3, [a] (b)</p>" in (
        report.html()
    )


def test_the_callbacks_of_a_foreign_run_are_named_and_no_markup():
    report = Report("Report")
    report.text(_left_out([{"class_path": "a.<img src=http://a onerror=alert(1)>"}]))
    report.text(_left_out({"class_path": "a.x`<script>alert(1)</script>`"}))
    page = report.html()
    assert not {"img", "script"} & set(Tags(page).names)
    assert "<code>&lt;img src=http://a onerror=alert(1)&gt;</code>" in page
