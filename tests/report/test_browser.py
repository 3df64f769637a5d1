"""The page in a real headless Chromium: in a phone-wide window, on a desktop, in the dark, and printed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llpf_plugin.quality import Quality
from llpf_plugin.report import EXTRAS, measure_stored, write_report
from llpf_plugin.runs import StoredRun

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

WINDOWS = {"phone": (360, "light"), "tablet": (800, "light"), "desktop": (1280, "light"), "dark": (1280, "dark")}


@pytest.fixture(scope="module")
def pages(run: StoredRun, quality: Quality, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one run with everything measured, and one that compares two; their names are as long as can be."""
    asked = replace(run.asked, task="tiny/" + "long-name-" * 12)
    info = {"a": "a.pt", "b": "b.pt", "command": "llpf merge " + "x" * 300}
    notes = ("a note about " + "it" * 90,)
    runs = [replace(run, folder=Path(n), name=n, asked=asked, info=info, notes=notes) for n in ("one", "two")]
    folder = tmp_path_factory.mktemp("pages")
    one = measure_stored(runs[0], quality, EXTRAS)
    write_report([one], folder / "one.html")
    write_report([one, measure_stored(runs[1], quality)], folder / "two.html")
    return {name: folder / f"{name}.html" for name in ("one", "two")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    place = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if place is None:
        pytest.skip(f"there is no browser here: none of {', '.join(BROWSERS)}")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=place, args=list(QUIET))
        yield running
        running.close()


def opened(browser: Any, page: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page in a window, and what the console or the network said."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    context.set_default_timeout(120_000)  # a busy machine starts a window slowly
    window, said = context.new_page(), []
    window.on("console", lambda message: said.append(message.text))
    window.on("pageerror", lambda error: said.append(str(error)))
    window.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    window.goto(page.as_uri())
    return window, said


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("window", WINDOWS)
def test_nothing_overflows_and_nothing_is_missing(browser: Any, pages: dict[str, Path], name: str, window: str) -> None:
    page, said = opened(browser, pages[name], *WINDOWS[window])
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert [url for url in said if not url.startswith("data:")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.evaluate(
        "[...document.querySelectorAll('svg.figure')].map(s => s.getBoundingClientRect())"
        ".filter(b => b.width).map(b => [b.left, b.right, b.height])"
    )
    assert len(boxes) >= (9 if name == "one" else 12)
    assert all(left >= 0 and right <= WINDOWS[window][0] and height > 80 for left, right, height in boxes)
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.figure text')].filter(t => t.getClientRects().length)"
        ".map(t => [parseFloat(getComputedStyle(t).fontSize), t.getScreenCTM()])"
        ".map(([size, m]) => size * Math.hypot(m.a, m.b)))"
    )
    assert smallest >= 5
    page.context.close()


def test_figures_take_the_windows_theme(browser: Any, pages: dict[str, Path]) -> None:
    colors = []
    for scheme in ("light", "dark"):
        page, _ = opened(browser, pages["one"], 1280, scheme)
        script = "s => getComputedStyle(document.querySelector(s)).{}"
        ink = page.evaluate(script.format("fill"), "svg.figure text")
        colors.append((page.evaluate(script.format("backgroundColor"), "body"), ink))
        page.context.close()
    assert colors[0][0] != colors[1][0] and colors[0][1] != colors[1][1]


def test_it_prints(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["one"], 1280, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.context.close()
