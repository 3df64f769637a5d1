"""The rows of a run in a file of JSON lines beside its checkpoints, which grows by one line a round."""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llpf_flower.history import Row
from llpf_plugin.documents import parse_json, read_content
from llpf_plugin.errors import CheckpointError, RunError
from llpf_plugin.files import write_bytes

NAME = "rows.jsonl"


@dataclass
class Journal:
    """What a run has written of its rows.

    The first writing replaces the file of an earlier run; the later ones append. A checkpoint holds the number of lines
    that belong to it and their CRC-32, so that later lines, or those of another run, are never taken for its own.

    Attributes:
        file: of JSON lines, one a row.
        count: rows written.
        crc: CRC-32 of their lines.
        size: bytes of them.
    """

    file: Path
    count: int = 0
    crc: int = 0
    size: int = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Bring the file to these rows, of which those that were written before must not have changed.

        Raises:
            RunError: the file cannot be written.
        """
        if not (self.count and self.file.is_file() and self.file.stat().st_size >= self.size):
            self.count = self.crc = self.size = 0
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows[self.count :])
        if self.count == 0:
            write_bytes(self.file, lines)
        elif lines:
            self._append(lines)
        self.count, self.crc, self.size = len(rows), zlib.crc32(lines, self.crc), self.size + len(lines)

    def _append(self, lines: bytes) -> None:
        """Write behind our last line, where a process that was killed may have left half a line."""
        try:
            with self.file.open("r+b") as file:
                file.truncate(self.size)
                file.seek(self.size)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"the rows cannot be written to {self.file}: {error.strerror}") from error


def read(file: Path, count: int, crc: int) -> list[Row] | None:
    """The first rows of a file, None if they are not those that were written, or not all there.

    Args:
        file: that a `Journal` wrote.
        count: of rows.
        crc: CRC-32 of their lines.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    lines = read_content(file, CheckpointError).splitlines(keepends=True)[:count] if file.is_file() else []
    if len(lines) < count or zlib.crc32(b"".join(lines)) != crc:
        return None
    return [parse_json(line, CheckpointError, f"a line of {file}") for line in lines]
