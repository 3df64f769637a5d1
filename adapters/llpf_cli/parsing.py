"""What the parser of command lines knows of a command: its options, and which words are none of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cyclopts import App


@dataclass(frozen=True)
class Options:
    """The options of a command.

    Attributes:
        groups: every name of an option, with all names of the same one, its own among them.
        flags: those that take no value.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flags: frozenset[str] = frozenset({"--help", "-h", "--version"})

    @classmethod
    def of(cls, app: App, command: str) -> "Options":
        """The options of a command of an application."""
        groups: dict[str, tuple[str, ...]] = {}
        flags = set(cls().flags)
        for argument in app[command].assemble_argument_collection():
            names = tuple(name for name in argument.names if name.startswith("-"))
            groups |= dict.fromkeys(names, names)
            flags |= set(names) if argument.hint is bool else set()
        return cls(groups, frozenset(flags))

    def __contains__(self, name: str) -> bool:
        return name in self.groups

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups)

    @property
    def long(self) -> list[str]:
        """Names with two dashes."""
        return [name for name in self if name.startswith("--")]

    def names(self, name: str) -> tuple[str, ...]:
        """All names of an option."""
        return self.groups[name]

    def takes_value(self, name: str) -> bool:
        """Whether the word after an option is its value."""
        return name not in self.flags

    def positions(self, words: Sequence[str]) -> list[int]:
        """Which words are neither options nor the value of one."""
        return [
            i
            for i, word in enumerate(words)
            if not word.startswith("-") and not (i and words[i - 1].startswith("-") and self._open(words[i - 1]))
        ]

    def _open(self, word: str) -> bool:
        return "=" not in word and self.takes_value(word)
