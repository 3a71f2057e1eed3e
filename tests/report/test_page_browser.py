"""The page in a real browser: a phone and a desk, light and dark, on paper, and offline.

Needs the extra `browser` and a Chromium of the system (Debian: `apt-get install chromium`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoestring.report import page
from tests import tiny
from tests.report import pages, test_page_build
from tests.report.sheets import RECEIPTS

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE, TABLET, DESK = (360, 740), (700, 900), (1280, 900)
# Of a text and what it stands on, by WCAG 2.1: their contrast, for every text of the page.
CONTRAST = """() => {
  const parts = words => words.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255).map(
      c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const under = element => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(one).backgroundColor);
      layers.unshift([r, g, b, a]);
    }
    return layers.reduce(
      (base, [r, g, b, a]) => [r, g, b].map((c, i) => a * c + (1 - a) * base[i]), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const holder = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !holder.getClientRects().length) continue;
    const style = getComputedStyle(holder);
    const svg = holder.namespaceURI.endsWith('svg');
    const [a, b] = [light(parts(svg ? style.fill : style.color)), light(under(holder))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(walker.currentNode.data.trim() + ' ' + ratio.toFixed(2));
  }
  return found;
}"""
# Texts that reach out of the page, or of a phone's reach without scrolling sideways.
OUTSIDE = """() => [...document.querySelectorAll('h1, h2, p, li, td, th, dd, svg, img')]
  .filter(one => !one.closest('.wide') && !one.closest('pre'))
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(one => one.tagName + ' ' + one.textContent.trim().slice(0, 40))"""

# Cells in which a word stands in columns of letters.
TORN = """() => [...document.querySelectorAll('th, td, dd')]
  .filter(one => one.textContent.trim().length > 3 && one.clientWidth > 0 && one.clientWidth < 24)
  .map(one => one.textContent.trim())"""
SMALLEST = """Math.min(...[...document.querySelectorAll('svg text')]
  .map(one => one.getBoundingClientRect().height))"""
SEEN = """[...document.querySelectorAll('details.receipt h3')]
  .every(one => one.checkVisibility({contentVisibilityAuto: true})
    && one.getBoundingClientRect().height > 0)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path is not None, f"none of {', '.join(NAMES)} is installed"
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    source = tiny.write_npz(folder / "bars.npz", 90)
    long = "a-very-long-name-without-a-blank-" * 6
    parents = (pages.lineage(f"runs/{long}", pages.lineage("runs/first")),)
    limits = {"size_bytes": 350_000, "latency_ms": 0.05, "quality": 0.99}
    total = RECEIPTS[-1].options | {"limits": limits}  # type: ignore[operator]
    lines = (*RECEIPTS[:-1], type(RECEIPTS[-1])("total", options=total))
    run = pages.write(folder / "run", source, lineage=parents, receipts=lines)
    other = pages.write(folder / long, source)
    sentences = pages.sentences(folder / "sentences")
    built = test_page_build.written(folder / "built")
    return {
        "build": page.write([built], folder / "build.html"),
        "one": page.write([run], folder / "one.html"),
        "sentences": page.write([sentences], folder / "sentences.html"),
        "several": page.write([run, other, sentences], folder / "several.html"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, TABLET, DESK], ids=["phone", "tablet", "desk"])
@pytest.mark.parametrize("name", ["one", "sentences", "several", "build"])
def test_a_page_is_readable(
    browser: Any, files: dict[str, Path], name: str, size: tuple[int, int], scheme: str
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened, asked, said = context.new_page(), list[str](), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.goto(files[name].as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    width = opened.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0], "a reader has to scroll sideways"
    assert opened.evaluate(OUTSIDE) == []
    assert opened.evaluate(CONTRAST) == []
    assert opened.evaluate(TORN) == []
    pictures = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
    assert opened.evaluate(pictures)
    assert opened.evaluate("document.querySelectorAll('svg text').length") > 0
    assert opened.evaluate(SMALLEST) > 10
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert opened.screenshot(full_page=True)
    context.close()


def test_on_paper_nothing_is_folded_away_but_figures(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(color_scheme="dark")
    opened = context.new_page()
    opened.goto(files["several"].as_uri())
    opened.emulate_media(media="print")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert opened.evaluate(paper) == "rgb(255, 255, 255)"
    opened.set_viewport_size({"width": 700, "height": 990})  # A4 with its margins
    assert opened.evaluate("document.documentElement.scrollWidth") <= 700
    assert opened.evaluate(TORN) == []
    assert opened.evaluate(SEEN)
    assert len(opened.pdf()) > 10_000
    context.close()
