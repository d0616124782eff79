"""A report of text, tables and pictures as one file that needs nothing else."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from hybridlit.analysis.page import page
from hybridlit.argument_types import checked

__all__ = ["Report", "code"]

_CODE = re.compile(r"(^```.*?^```$|(?<![`\\])(`+)(?!`)[^\n]+?(?<!`)\2(?!`))", re.S | re.M)
"""Fenced blocks, and code spans in a line, in which nothing is markup."""

_MARKUP_OF_PYTHON_MARKDOWN = (
    "html",
    "autolink",
    "automail",
    "link",
    "image_link",
    "reference",
    "image_reference",
    "short_reference",
    "short_image_ref",
)

_DENSITY = 1.5
"""Pixels of a figure for each of a plain screen, since phones and printers have more."""

_NARROW = 300
"""Width of the caption of a picture that is narrower than this."""


@dataclass(frozen=True)
class _Picture:
    """A PNG file, what it shows, its width and height on a plain screen, and its class."""

    data: bytes
    caption: str
    size: tuple[int, int]
    kind: str


def code(text: object) -> str:
    """Return any text as one code span of Markdown, in which nothing is markup.

    Args:
        text: A name, of a file or a class for instance, whoever chose it.

    Returns:
        The span; line breaks become spaces.

    Example:
        >>> print(code("Digits"), code("a`<b>"))
        `Digits` ``a`<b>``
    """
    line = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    quotes = "`" * (longest + 1)
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{quotes}{gap}{line}{gap}{quotes}"


class Report:
    """Text in Markdown and figures in order, written as HTML or Markdown.

    Names in it may be anybody's: of HTML, links and images in the text nothing is left but the
    characters.

    Args:
        title: The heading.

    Example:
        >>> report = Report("Digits")
        >>> _ = report.text("All is *well*.")
        >>> "<em>well</em>" in report.html()
        True
    """

    @checked
    def __init__(self, title: str) -> None:
        self.title = title
        self._pieces: list[str | _Picture] = []

    def text(self, markdown: str | Callable[[], str]) -> str:
        """Add text; what comes before the first section is the head of the report.

        Args:
            markdown: Paragraphs, headings from `##` on, lists, tables and fenced code; or what
                makes them: if that fails, the report says so and goes on.

        Returns:
            What was added, links and images among it made inert.
        """
        if callable(markdown):
            try:
                markdown = markdown()
            except Exception as error:
                return self._left_out("Not said", "some of this part", error)
        added = _inert(markdown)
        self._pieces.append(added)
        return added

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Add a heading above what is added in the block, if anything is.

        What fails in the block is said in its place, and warned of: one section that cannot be made
        takes nothing from the others.

        Args:
            title: The heading.
        """
        self.text(f"## {title}")
        before = len(self._pieces)
        try:
            yield
        except Exception as error:
            self._left_out("Not made", f"the section {title!r}", error)
        if len(self._pieces) == before:
            self._pieces.pop()

    def figure(self, figure: Figure | Callable[[], Figure], caption: str) -> None:
        """Add a figure of matplotlib.

        Args:
            figure: The figure, drawn at once, so that it may be closed or changed afterwards; or
                what makes it: if that fails, the report says so and goes on.
            caption: What it shows, in a sentence.
        """
        if callable(figure):
            try:
                self.figure(figure(), caption)
            except Exception as error:
                self._left_out("Not drawn", caption.rstrip("."), error)
            return
        file = BytesIO()
        figure.savefig(file, format="png", dpi=96 * _DENSITY, bbox_inches="tight")
        self._add(file.getvalue(), caption, "figure", _DENSITY)

    def picture(self, pixels: npt.NDArray[np.uint8], caption: str) -> None:
        """Add a picture that is an array.

        Args:
            pixels: Red, green and blue of each pixel, shape (height, width, 3).
            caption: What it shows, in a sentence.
        """
        file = BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        self._add(file.getvalue(), caption, "map")

    def extend(self, other: Report) -> None:
        """Add all that another report holds, without its heading."""
        self._pieces += other._pieces

    def __str__(self) -> str:
        """The report in Markdown, with captions for pictures."""
        return self._markdown(f"*{picture.caption}*" for picture in self._pictures)

    def html(self) -> str:
        """Return the report as one HTML page with its pictures inside.

        Raises:
            ImportError: If the package markdown, of the extra `analysis`, is not installed.
        """
        try:
            from markdown import Markdown
        except ImportError as error:
            raise ImportError(
                "HTML reports need the package markdown: pip install 'hybridlit[analysis]', or "
                "write a Markdown report, with a file name that ends in .md"
            ) from error
        parser = Markdown(extensions=["tables", "fenced_code", "sane_lists"])
        parser.preprocessors.deregister("html_block")
        for name in _MARKUP_OF_PYTHON_MARKDOWN:
            parser.inlinePatterns.deregister(name)
        body = []
        for piece in self._pieces:
            if isinstance(piece, str):
                body.append(parser.reset().convert(piece))
            else:
                data, caption = base64.b64encode(piece.data).decode(), escape(piece.caption)
                width, height = piece.size
                body.append(
                    f'<figure style="width: {max(width, _NARROW)}px"><img class="{piece.kind}" '
                    f'alt="{caption}" width="{width}" height="{height}" '
                    f'src="data:image/png;base64,{data}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
        return page(self.title, "\n".join(body))

    def write(self, path: str | Path) -> list[Path]:
        """Write the report.

        Args:
            path: A file name that ends in `.html`, for one page with everything inside, or in
                `.md`, for text with numbered PNG files beside it.

        Returns:
            The files written, the report first.

        Raises:
            ValueError: If the name ends otherwise.
        """
        path = Path(path)
        if path.suffix not in (".html", ".md"):
            raise ValueError(f"path must end in .html or .md, got {path.name!r}")
        content = self.html() if path.suffix == ".html" else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".html":
            path.write_text(content, encoding="utf-8")
            return [path]
        names = [f"{path.stem}-{number + 1}.png" for number in range(len(self._pictures))]
        shown = [
            f"![{picture.caption}]({name})\n\n*{picture.caption}*"
            for name, picture in zip(names, self._pictures, strict=True)
        ]
        path.write_text(self._markdown(shown), encoding="utf-8")
        files = [path.with_name(name) for name in names]
        for file, picture in zip(files, self._pictures, strict=True):
            file.write_bytes(picture.data)
        return [path, *files]

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _pictures(self) -> list[_Picture]:
        return [piece for piece in self._pieces if isinstance(piece, _Picture)]

    def _add(self, png: bytes, caption: str, kind: str, density: float = 1.0) -> None:
        with Image.open(BytesIO(png)) as image:
            width, height = (round(pixels / density) for pixels in image.size)
        self._pieces.append(_Picture(png, caption, (width, height), kind))

    def _left_out(self, how: str, what: str, error: Exception) -> str:
        """Say what could not be added, and why; return the words."""
        why = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{how}: {what}: {type(error).__name__}: {why}", stacklevel=3)
        return self.text(f"{how}: {what} ({code(why)}).")

    def _markdown(self, pictures: Iterable[str]) -> str:
        """The text, with something in the place of each picture."""
        shown = iter(pictures)
        parts = [each if isinstance(each, str) else next(shown) for each in self._pieces]
        return "\n\n".join([f"# {_inert(self.title)}", *parts]) + "\n"


def _inert(markdown: str) -> str:
    """Take the meaning from tags, links and images outside of code, for viewers of any kind."""
    parts = _CODE.split(markdown)
    # the expression has two groups, so that every third part is text and the next one code
    for index in range(0, len(parts), 3):
        text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", parts[index])
        parts[index] = re.sub(r"\](?=[(\[:])", r"\]", text)
    del parts[2::3]  # the quotes of the code spans
    return "".join(parts)
