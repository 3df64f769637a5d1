"""Which rank this process is, and what ranks tell each other.

Every rank runs the same program; what is asked of all of them here must be asked by all of them in the same order.
Nothing here imports torch before there are two ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from llpf_plugin.errors import RankError

T = TypeVar("T")


class Watched(Protocol):
    """Knows which ranks have ended, see `llpf_plugin.ranks.lifeline`."""

    def check(self) -> None:
        """Raise an error if one has."""

    def explained(self, error: object) -> RankError:
        """Which one has, after an error in speaking to them."""


@dataclass(frozen=True)
class Group:
    """The ranks that search together.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are; 1 where this process works alone.
        lifeline: knows which of them have ended.
        solo: the others do not do what this one does now.
    """

    rank: int = 0
    size: int = 1
    lifeline: Watched | None = field(default=None, repr=False, compare=False)
    solo: bool = False

    @property
    def own(self) -> tuple[int, ...]:
        """What names random numbers that every rank draws for itself; nothing on rank 0, which draws as one process."""
        return (self.rank,) if self.size > 1 and self.rank else ()

    def part(self, count: int) -> slice:
        """This rank's share of ``count`` examples: all ranks' shares are equal to within one, and in order."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)


_ALONE = Group()
_current: ContextVar[Group] = ContextVar("ranks", default=_ALONE)


def current() -> Group:
    """The ranks that work together at this point of the program."""
    return _current.get()


def together() -> bool:
    """Whether there are several."""
    return current().size > 1


def is_first() -> bool:
    """Whether this process writes files and talks to the user: rank 0 does, and a process without ranks."""
    return current().rank == 0


@contextmanager
def set_current(group: Group) -> Iterator[Group]:
    """Work as a member of a group inside the block."""
    token = _current.set(group)
    try:
        yield group
    finally:
        _current.reset(token)


@contextmanager
def alone() -> Iterator[None]:
    """Work without the other ranks inside the block: for what only one of them does, or each by itself."""
    with set_current(replace(current(), size=1)):
        yield


@contextmanager
def speaking() -> Iterator[None]:
    """Around what ranks tell each other: what fails there is explained by who has ended.

    Raises:
        RankError: another rank has ended, or cannot be reached.
    """
    lifeline = current().lifeline
    assert lifeline is not None
    lifeline.check()
    try:
        yield
    except RuntimeError as error:  # torch's errors of communication are of this kind
        raise lifeline.explained(error) from error


SIGNS = ("gloo", "nccl", "connection")
"""Words of errors by which torch's engines say that ranks cannot speak to each other."""


@contextmanager
def in_touch() -> Iterator[None]:
    """Around work in which torch's engines speak to other ranks: what fails there is explained as in `speaking`.

    Raises:
        RankError: another rank has ended, or cannot be reached.
    """
    try:
        yield
    except Exception as error:
        lifeline, cause = current().lifeline, _first_cause(error)
        if lifeline is None or isinstance(error, RankError) or not any(sign in str(cause).lower() for sign in SIGNS):
            raise
        raise lifeline.explained(cause) from error


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def on_first(function: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
    """What rank 0 does by itself, such as to show or to write something; None on the others, which do not wait."""
    if not is_first():
        return None
    with set_current(replace(current(), size=1, solo=current().size > 1)):
        return function(*arguments, **named)


def shared(value: T) -> T:
    """Rank 0's value, on every rank."""
    if not together():
        return value
    import torch.distributed as dist

    values: list[Any] = [value if is_first() else None]
    with speaking():
        dist.broadcast_object_list(values, src=0)
    return value if is_first() else values[0]


def from_first(make: Callable[[], T]) -> T:
    """What rank 0 makes by itself, on every rank; the others wait for it."""
    if not together():
        return make()
    made: Any = on_first(make)
    return shared(made)


def gathered(value: T) -> list[T]:
    """The values of all ranks, in their order, on every rank."""
    if not together():
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * current().size
    with speaking():
        dist.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    """Go on once all ranks have come to this point."""
    gathered(None)


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    return any(gathered(flag))
