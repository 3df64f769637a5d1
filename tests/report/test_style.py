"""How figures are written: the same bytes every time, and colours that the page may exchange."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from llpf_plugin.report.style import BLUE, VARIABLES, drawing, inline, new_figure, plain_log, save, svg


@pytest.fixture(autouse=True)
def matplotlib() -> Iterator[None]:
    with drawing():
        yield


def drawn() -> object:
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([1, 2, 3], [1, 10, 100], color=BLUE, label="loss")
    axes.legend()
    return figure


def test_a_figure_is_the_same_text_every_time() -> None:
    assert svg(drawn(), "one") == svg(drawn(), "one")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_and_the_same_file(kind: str, tmp_path: Path) -> None:
    one, two = (save(drawn(), tmp_path / name / f"x.{kind}").read_bytes() for name in "ab")  # type: ignore[arg-type]
    assert one == two


def test_inside_a_page_colours_are_the_pages_and_identifiers_the_figures() -> None:
    text = inline(drawn(), "path", 'Loss & "more"')  # type: ignore[arg-type]
    assert text.startswith('<svg class="figure" role="img" aria-label="Loss &amp; &quot;more&quot;"')
    assert f"var({VARIABLES[BLUE]})" in text and not any(color in text for color in VARIABLES)
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert identifiers and all(name.startswith("path-") for name in identifiers)
    targets = re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert targets and set(targets) <= set(identifiers)


def test_the_page_knows_every_colour_in_light_and_in_dark() -> None:
    style = resources.files("llpf_plugin.report").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    for variable in VARIABLES.values():
        assert f"{variable}:" in light and f"{variable}:" in dark.split("* {")[0]


def test_numbers_on_a_logarithmic_axis_are_plain() -> None:
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0.01, 100])
    plain_log(axes)
    figure.canvas.draw()
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert "0.01" in words and "100" in words and not any("^" in word or "e" in word for word in words)


def test_matplotlibs_own_settings_are_left_alone() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31}):
        with drawing():
            assert mpl.rcParams["font.size"] == 9
        assert mpl.rcParams["font.size"] == 31
