"""The page that `hybridlit analyze` writes in a real browser: on a phone, in the dark, on paper."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from hybridlit.cli import main

pytest.importorskip("matplotlib", reason="analysis extra")
pytest.importorskip("sklearn", reason="recipes extra")

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
RECIPE = Path(__file__).parents[2] / "recipes" / "iris_sequential.yaml"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BROWSER, reason="there is no chromium"),
    pytest.mark.filterwarnings("ignore"),
]

# The page is in a frame of the width of a phone: windows without a screen are no narrower than 500.
HARNESS = """<style>:root {{ color-scheme: light dark }}</style>
<iframe id="frame" width="{width}" height="800" style="border: 0" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("frame").onload = (event) => {{
  const page = event.target.contentDocument, all = (what) => [...page.querySelectorAll(what)];
  document.getElementById("found").textContent = JSON.stringify({{
    wide: page.documentElement.scrollWidth,
    ground: getComputedStyle(page.body).backgroundColor,
    headings: all("h2").map((each) => each.textContent),
    links: all("a").map((each) => each.getAttribute("href")),
    names: all("[id]").map((each) => each.id),
    pictures: all("img").map((each) => [each.naturalWidth, each.clientWidth, each.alt]),
    outside: all("main > :not(table), main p, main figure, nav a").filter(
      (each) => each.getBoundingClientRect().right > {width} + 0.5).map((each) => each.outerHTML),
  }});
}};
</script>"""


def unread(browser, folder):
    """Why a browser shows no page of a folder, or nothing if it does."""
    page = folder / "trial.html"
    page.write_text("<p>It is read.</p>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'trial'}"]
    command = [browser, *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "<p>It is read.</p>" in done.stdout:
        return ""
    return (
        f"{browser} ends with {done.returncode} and shows no page of {folder}; one that snap has "
        "installed reads neither /tmp nor hidden folders"
    )


@pytest.fixture(scope="module", autouse=True)
def browser_that_reads(tmp_path_factory):
    """Skip where the browser cannot see what tests write."""
    if why := unread(BROWSER, tmp_path_factory.mktemp("trial")):
        pytest.skip(why)


def test_a_browser_that_cannot_read_is_told_from_a_page_that_is_wrong(tmp_path):
    blind = tmp_path / "chromium"
    blind.write_text("#!/bin/sh\necho '<html>ERR_FILE_NOT_FOUND</html>'\n")
    blind.chmod(0o755)
    assert "shows no page" in unread(str(blind), tmp_path) and not unread(BROWSER, tmp_path)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run of three epochs that was watched."""
    place = tmp_path_factory.mktemp("run")
    watched = [
        {"class_path": "GradientImbalanceMonitor", "init_args": {"every_n_steps": 1}},
        {"class_path": "OverfittingDetector", "init_args": {"every_n_steps": 5}},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        flags = ["--trainer.max_epochs=3", "--trainer.log_every_n_steps=1"]
        main(["fit", f"--config={RECIPE}", *flags, f"--trainer.callbacks={json.dumps(watched)}"])
        flags = ["--retrain=false", "--baselines=false", "--batches=2", "--noise=demo"]
        main(["analyze", "--ckpt=last", "--out=report.html", *flags])
    return place / "report.html"


def browse(page, *options):
    """Let the browser open a page; return what it writes, the console must stay empty."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    home = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [BROWSER, *flags, home, page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def seen(report, width, *options):
    """What the browser makes of a report in a frame of some width."""
    harness = report.with_name("harness.html")
    harness.write_text(HARNESS.format(width=width, page=escape(report.read_text())))
    dom = browse(harness, "--dump-dom", "--virtual-time-budget=5000", *options)
    return json.loads(unescape(re.search('<pre id="found">(.*?)</pre>', dom, re.S)[1]))


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1000, False)])
def test_all_is_seen_on_a_phone_and_on_a_desk(report, width, dark):
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    found = seen(report, width, *options)
    assert found["wide"] <= width and found["outside"] == []
    assert found["ground"] == ("rgb(26, 26, 26)" if dark else "rgb(255, 255, 255)")
    assert len(found["pictures"]) >= 12
    assert all(
        natural and 0 < shown <= width and words for natural, shown, words in found["pictures"]
    )
    assert len(found["links"]) == len(found["headings"]) >= 10
    assert all(link.startswith("#") and link[1:] in found["names"] for link in found["links"])


def test_it_loads_nothing(report):
    browse(report, "--dump-dom")
    page = report.read_text()
    assert not re.search(r'(src|href)="(?!data:image/png;base64,|#)', page)
    assert not re.search(r"url\(|@import|<script|<link", page)


def letters(text):
    """A text without what the end of a line may take from it."""
    return re.sub(r"[\s-]", "", text)


def test_it_is_printed_whole(report):
    pdf = report.with_suffix(".pdf")
    browse(report, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) >= 3
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True).stdout
        for heading in re.findall("<h2[^>]*>([^<]+)", report.read_text()):
            assert heading in text, heading
        command = re.search("<pre><code>(.*?)</code>", report.read_text(), re.S)[1]
        assert letters(unescape(command)) in letters(text)
