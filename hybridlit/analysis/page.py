"""One HTML page around a body: for wide and narrow screens, light and dark ones, and paper."""

from __future__ import annotations

import re
from html import escape, unescape

__all__ = ["page"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load or run: pictures and style of the page itself, and nothing else."""

# In the dark, figures are turned from dark on light to light on dark: hues stay, and white becomes
# the colour of the page. Pictures whose colours are values (class "map") stay as they are. Paper is
# light, and hides nothing that a screen would scroll to.
_STYLE = """
:root { --ink: #1b1f24; --paper: #fff; --faint: #57606a; --line: #d0d7de; --shade: #f3f5f7;
        --link: #0969da; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --ink: #e6e6e6; --paper: #1a1a1a; --faint: #9aa4af; --line: #3d434a;
          --shade: #26292e; --link: #6cb6ff; }
  img { filter: invert(0.9) hue-rotate(180deg); }
  img.map { filter: brightness(0.9); }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 0 auto; padding: 1rem;
       color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); }
header p, header li { font-size: 1.1rem; }
header code { display: inline-block; font-size: 0.85em; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0.7rem 0;
      border: solid var(--line); border-width: 1px 0; }
table, figure { display: inline-block; max-width: calc(100% - 1.5rem); vertical-align: top; }
table { overflow-x: auto; border-collapse: collapse; margin: 0.5rem 1.5rem 0.5rem 0;
        font-size: 0.8rem; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: 0.25rem 0.5rem; white-space: nowrap; }
th { background: var(--shade); text-align: left; }
thead:has(th:empty) { display: none; }
pre { background: var(--shade); padding: 0.8rem; line-height: 1.4; white-space: pre-wrap; }
figure { margin: 0.5rem 1.5rem 1rem 0; }
img { display: block; max-width: 100%; height: auto; object-fit: contain; }
figcaption { color: var(--faint); font-size: 0.9rem; }
@media (max-width: 40rem) {
  table, figure { margin-right: 0; max-width: 100%; }
}
@media print {
  @page { margin: 1.5cm; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  table { display: table; overflow: visible; font-size: 7.5pt; }
  th, td { white-space: normal; overflow-wrap: anywhere; }
  h2, h3 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; }
  img { max-height: 22cm; }
}
"""

_HEADING = re.compile(r"<h([2-4])>(.*?)</h\1>", re.S)


def page(title: str, body: str) -> str:
    """Return a page that needs nothing else, whose sections can be linked to.

    What stands before the first section is its head; behind it are links to the sections, if there
    are several.

    Args:
        title: Its title, any text.
        body: Its HTML, sections under `<h2>`, names of other people escaped.
    """
    sections: list[tuple[str, str]] = []
    taken = set[str]()

    def named(found: re.Match[str]) -> str:
        level, words = found.groups()
        name = _free_name(words, taken)
        if level == "2":
            sections.append((name, re.sub(r"<[^>]*>", "", words)))
        return f'<h{level} id="{name}">{words}</h{level}>'

    head, first, rest = _HEADING.sub(named, body).partition("<h2 ")
    links = "\n".join(f'<a href="#{name}">{words}</a>' for name, words in sections)
    contents = f'<nav aria-label="Contents">\n{links}\n</nav>\n' if len(sections) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><header><h1>{escape(title)}</h1>\n{head}</header>\n"
        f"{contents}<main>\n{first}{rest}\n</main></body></html>\n"
    )


def _free_name(words: str, taken: set[str]) -> str:
    """Return a heading as the name of an anchor, of letters and digits, that is not taken."""
    plain = unescape(re.sub(r"<[^>]*>", "", words)).lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name
