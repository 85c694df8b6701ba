"""Pages hold whatever a store says: nothing of it runs, leads out of the page, or makes a row of its own."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from monitor.audit.page.blocks import Drawn, Page, Points, Said, Section, Table, Text, as_html, as_markdown, write
from monitor.audit.page.svg import Estimated, Line, bars, intervals, lines, stacked

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.audit.page.blocks import Block

HOSTILE = (
    '</title></style></svg><script>document.title="ran"</script><img src=x onerror="document.title=\'ran\'">'
    "<svg onload=\"document.title='ran'\">\"'><a href=javascript:document.title=1>\x00\x1b\u202e"
    "|\n# head\n![x](http://127.0.0.1:9/x.png)[y](javascript:1)`*_"
)


def page() -> Page:
    """A page with a hostile text everywhere."""
    said = Said(HOSTILE)
    plots = (
        lines(
            "lines", HOSTILE, HOSTILE, [Line(HOSTILE, ((0, 0), (3, 1)), ((0, 0, 0), (3, 0.5, 1)))], x=HOSTILE, y=HOSTILE
        ),
        intervals("intervals", HOSTILE, HOSTILE, [Estimated(HOSTILE, 0.5, 0.2, 0.8), Estimated("x", None)], x=HOSTILE),
        stacked("stacked", HOSTILE, HOSTILE, [HOSTILE, "b"], {HOSTILE: [1, 2], "z": [0, 3]}, y=HOSTILE),
        bars("bars", HOSTILE, HOSTILE, [(HOSTILE, {"a": 1.0, HOSTILE: 2.0})], x=HOSTILE),
    )
    blocks: tuple[Block, ...] = (
        Text(said, loud=True),
        Points((said,)),
        Table((said, said), ((said, said),)),
        *map(Drawn, plots),
    )
    return Page(said, (Text(said),), (Section(said, blocks),))


def test_nothing_but_our_own_elements_is_in_the_page() -> None:
    html = as_html(page())
    for never in ("<script", "<img", "<a ", "javascript:1)<", 'onload="', "\x00", "\x1b", "\u202e"):
        assert never not in html
    assert html.count("<title>") == 1 + 4
    assert 'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;' in html


def test_a_plot_is_well_formed_by_itself() -> None:
    for plot in page().plots:
        root = ElementTree.fromstring(plot.alone())
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "title", "desc", "style", "rect", "path", "text", "circle"}
        assert root.get("role") == "img"
        assert root.get("aria-label")


def test_markdown_has_no_markup_of_anybody_elses() -> None:
    text = as_markdown(page(), "plots")
    lines_ = text.splitlines()
    assert sum(line.startswith("# ") for line in lines_) == 1
    assert sum(line.startswith("|") for line in lines_) == 3
    assert "\n<" not in text
    assert "](http" not in text
    assert "](javascript" not in text
    assert text.count("![") == 4  # our own plots


def test_the_files_are_written_with_the_plots_beside_them(tmp_path: Path) -> None:
    written = write(page(), html=tmp_path / "a" / "x.html", markdown=tmp_path / "a" / "x.md")
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "a/x.html",
        "a/x.md",
        "a/x-plots/lines.svg",
        "a/x-plots/intervals.svg",
        "a/x-plots/stacked.svg",
        "a/x-plots/bars.svg",
    ]
    for plot in page().plots:
        assert f"(x-plots/{plot.name}.svg)" in (tmp_path / "a" / "x.md").read_text(encoding="utf-8")


def test_what_is_unmeasured_is_said_in_a_plot() -> None:
    drawn = intervals("x", "t", "a", [Estimated("one", None), Estimated("two", 0.25, 0.1, 0.5)], x="share").body
    assert drawn.count("unmeasured") == 1
    assert drawn.count("<circle") == 1
    assert ">25 %<" in drawn


def test_what_is_counted_has_whole_numbers_beside_it() -> None:
    """Half of a subcall is none."""
    one = stacked("x", "t", "a", ["day"], {"pass": [1]}, y="subcalls").body
    assert ">0<" in one
    assert ">1<" in one
    assert ">0.2<" not in one
    shares = stacked("x", "t", "a", ["day"], {"pass": [0.9]}, y="share").body
    assert ">0.2<" in shares


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_in_a_real_browser_nothing_runs(tmp_path: Path) -> None:
    """The title would be another one if anything of the texts had run; a page with a script shows that it would be seen."""
    assert BROWSER is not None
    (tmp_path / "page.html").write_text(as_html(page()), encoding="utf-8")
    shown = _dom(BROWSER, tmp_path, "page.html")
    assert "<title>ran</title>" not in shown
    assert "<svg" in shown
    (tmp_path / "runs.html").write_text("<title>x</title><script>document.title='ran'</script>", encoding="utf-8")
    assert "<title>ran</title>" in _dom(BROWSER, tmp_path, "runs.html")


def _dom(browser: str, folder: Path, name: str) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}"]
    command = [browser, *flags, "--dump-dom", (folder / name).as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout
