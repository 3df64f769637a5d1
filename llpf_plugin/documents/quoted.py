"""What somebody wrote, in an error: a few words of it, however long, deep or hard to print it is."""

import reprlib

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
    text = visible(text)
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
