"""Each page of recipes/tutorials is one session, which runs from its top to its bottom."""

import functools
import re
import shutil
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from pages import ROOT, all_blocks, broken_links, names_of_files, run_page

TUTORIALS = ROOT / "recipes" / "tutorials"
INDEX = TUTORIALS / "README.md"
PAGES = sorted(set(TUTORIALS.glob("*.md")) - {INDEX})

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("blank_pictures", "signals_kept"),
]


def name(path):
    return path.name


@pytest.fixture
def short(monkeypatch):
    """Trainings end after two epochs."""
    fit = Trainer.fit

    def begin_to_fit(trainer, *args, **kwargs):
        trainer.fit_loop.max_epochs = min(2, trainer.max_epochs or 2)
        return fit(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "fit", functools.wraps(fit)(begin_to_fit))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder as a fresh clone is, for what a page names; the package is installed."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(page, slow):
    """Run a page, and look for the files that its commands say they write."""
    ran, missing = run_page(page, slow)
    if not ran and missing:
        pytest.skip(f"needs {', '.join(missing)}")
    for block in ran:
        for file in re.findall(r"--out(?:put)?[ =](\S+)", block.text * (block.language == "bash")):
            assert list(Path().glob(f"{Path(file).with_suffix('')}*")), file  # one or several


def with_blocks(slow):
    return [page for page in PAGES if any(block.slow is slow for block in all_blocks(page))]


@pytest.mark.parametrize("page", with_blocks(slow=False), ids=name)
def test_a_page_runs(page, clone, short):
    runs(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", with_blocks(slow=True), ids=name)
def test_a_page_runs_with_what_is_slow(page, clone, short):
    runs(page, slow=True)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_short_and_says_what_it_leads_to(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    promise = "\n".join(["", *lines]).partition("\n# ")[2].split("\n\n")[1]
    assert re.search(r"\b(minute|second)s?\b", promise), "how long does it take?"
    assert re.search(r"pip install .*-e ", "\n".join(lines))


@pytest.mark.parametrize("page", [INDEX, *PAGES], ids=name)
def test_links_and_marks_of_a_page_are_right(page):
    assert broken_links(page) == []
    text = page.read_text(encoding="utf-8")
    for comment in re.findall(r"^<!--.*$", text, flags=re.MULTILINE):
        assert re.fullmatch(r"<!-- (slow|needs: [\w., ]+) -->", comment), comment
    made = "".join(block.text for block in all_blocks(page))
    for file in names_of_files(page):
        own = rf"(?:^# |--out(?:put)?[ =]|['\"]){re.escape(file)}\b"
        assert (ROOT / file).exists() or re.search(own, made, re.MULTILINE), file
    for picture in re.findall(r"\]\(pictures/([\w.]+\.png)\)", text):
        assert picture in made, f"no code of the page makes {picture}"


def test_the_index_has_every_page():
    linked = re.findall(r"\]\(([\w.]+\.md)\)", INDEX.read_text(encoding="utf-8"))
    assert sorted(linked) == [page.name for page in PAGES]
