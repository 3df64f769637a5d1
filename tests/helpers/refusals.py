"""What a refused command looks like: one message after the command's name, no traceback, and the exit code."""

from helpers.commands import Result

ERROR, USAGE = 1, 2


def refused(result: Result, command: str, *words: str, code: int = ERROR) -> None:
    """The command ended with this code and one message, which has these words.

    Args:
        result: how it ended.
        command: such as ``merge``; empty for ``llpf`` itself.
        words: all in the message.
        code: `ERROR`, or `USAGE` for a command line that makes no sense.
    """
    assert result.code == code and not result.traceback, result.text
    assert result.err.startswith(f"llpf {command}".strip() + ": "), result.err
    for word in words:
        assert word in result.err, result.err
