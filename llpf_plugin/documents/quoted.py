"""What somebody wrote, in an error: a few words of it, however long, deep or hard to print it is."""

import reprlib
from collections.abc import Iterable

LONGEST = 120
"""Characters of a value in an error."""


def quoted(value: object, longest: int = LONGEST) -> str:
    """``repr(value)``, shortened inside of nested values and then in the middle; it never fails.

    Args:
        value: as it was read.
        longest: characters of the result at most.
    """
    try:
        text = _REPR.repr(value)
    except ValueError:  # more digits than Python writes out
        text = f"{'-' if isinstance(value, int) and value < 0 else ''}(a number of thousands of digits)"
    return shortened(visible(text), longest)


def listed(values: Iterable[object], most: int = 5, longest: int = 60) -> str:
    """The first of some values with commas, each shortened, and how many there are in all.

    Args:
        values: text stays as it is, but for what is not seen.
        most: of them.
        longest: characters of one of them at most.
    """
    values = list(values)
    texts = [shortened(visible(v), longest) if isinstance(v, str) else quoted(v, longest) for v in values[:most]]
    return ", ".join(texts) + (f", … ({len(values)} in all)" if len(values) > most else "")


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text, without its middle where it is longer than ``longest`` characters."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def visible(text: str) -> str:
    """The text with its control characters and other marks that are not seen escaped; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class _Repr(reprlib.Repr):
    """Bounds that leave what people mean to write as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, LONGEST, LONGEST, LONGEST


_REPR = _Repr()
