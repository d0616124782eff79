"""A report holds its text, tables and pictures, and nothing outside of it."""

import base64
import re

import pytest

from hybridlit.analysis.report import Report

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
    assert page.count("src=") == 1 and "http" not in page


def test_markdown_has_pictures_beside_it(report, tmp_path):
    text, picture = report.write(tmp_path / "report.md")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert text.read_text().startswith("# A < B\n\n## Costs")
    assert f"]({picture.name})" in text.read_text()


def test_another_suffix_is_refused(report, tmp_path):
    with pytest.raises(ValueError, match=r"must end in .html or .md, got 'report.pdf'"):
        report.write(tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())
