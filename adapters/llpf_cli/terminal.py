"""The terminal: names of tensors, tasks and files are shown as they are written and change nothing there."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

from llpf_plugin.documents import visible


def terminal(**options: Any) -> Console:
    """A console that escapes the control characters of whatever is printed on it, but for Rich's own.

    Args:
        **options: of `rich.console.Console`.
    """
    console = Console(**options)
    console.push_render_hook(_Escape())
    return console


class _Escape(RenderHook):
    """Wraps what is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(one) for one in renderables]


class _Escaped:
    """Something printed, in whose text control characters are escaped once it is laid out."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
