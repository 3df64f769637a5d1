"""Pickles that no program wrote: random opcodes, as torch knows them, around and between what a checkpoint holds."""

import pickle
from pathlib import Path
from random import Random

from helpers.forged import called, integer, text, torch_file, with_attribute
from torch import Tensor

FUNCTIONS = (
    "builtins bytearray", "builtins set", "builtins complex", "builtins str", "builtins list", "builtins tuple",
    "builtins dict", "builtins range", "builtins int", "builtins float", "builtins frozenset", "builtins slice",
    "builtins bytes", "collections OrderedDict", "collections Counter", "collections defaultdict", "collections deque",
    "_codecs encode", "torch Size", "torch Tensor", "torch device", "torch FloatTensor", "torch.nn.parameter Parameter",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_qtensor", "torch._utils _rebuild_meta_tensor_no_storage", "torch.storage UntypedStorage",
    "torch._utils _rebuild_nested_tensor", "torch._utils _rebuild_parameter_with_state",
    "torch._tensor _rebuild_from_type_v2",
    "fractions Fraction", "decimal Decimal", "datetime datetime", "datetime timedelta", "datetime timezone",
    "pathlib PosixPath", "pathlib WindowsPath", "argparse Namespace", "types SimpleNamespace",
    "numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "numpy ndarray", "numpy dtype",
    "os system", "builtins eval", "builtins getattr", "torch.nn.modules.linear Linear", "torch float32", "torch int64",
    "mine Settings", "mine.inner Set\x00tings", "mi'ne \x1b[31m", "mine object", "é ü", "mine __class__",
)  # fmt: skip
"""What a pickle may ask for, with and without a right to it."""

WORDS = (
    "",
    "x",
    "items",
    "copy",
    "__reduce_ex__",
    "detach",
    "w",
    "f4",
    "S5",
    "1e9999",
    "latin1",
    "hex",
    "cpu",
    "1" * 500,
)
NUMBERS = (0, 1, -1, 3, 255, 2**31 - 1, 2**40, -(2**70), 600_000_000)


class Opcodes:
    """Makes values in a pickle, of at most so many opcodes."""

    def __init__(self, random: Random, left: int = 60) -> None:
        self.random, self.left, self.memo = random, left, 300

    def value(self, depth: int = 0) -> bytes:
        """One value."""
        self.left -= 1
        plain = (self.number, self.word, self.constant)
        nested = (self.items, self.mapping, self.tuple, self.call, self.call, self.built, self.again, self.twice)
        return self.random.choice(plain if depth > 5 or self.left < 0 else (*plain, *nested))(depth + 1)

    def number(self, depth: int) -> bytes:
        return integer(self.random.choice(NUMBERS))

    def word(self, depth: int) -> bytes:
        return text(self.random.choice(WORDS))

    def constant(self, depth: int) -> bytes:
        simple = (pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.EMPTY_TUPLE, pickle.EMPTY_LIST)
        return self.random.choice((*simple, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.BINFLOAT + bytes(8)))

    def several(self, depth: int) -> bytes:
        return b"".join(self.value(depth) for _ in range(self.random.choice((0, 1, 1, 2, 3, 5))))

    def items(self, depth: int) -> bytes:
        return pickle.EMPTY_LIST + pickle.MARK + self.several(depth) + pickle.APPENDS

    def tuple(self, depth: int) -> bytes:
        return pickle.MARK + self.several(depth) + pickle.TUPLE

    def mapping(self, depth: int) -> bytes:
        pairs = (self.value(depth) + self.value(depth) for _ in range(self.random.choice((0, 1, 2))))
        return pickle.EMPTY_DICT + pickle.MARK + b"".join(pairs) + pickle.SETITEMS

    def call(self, depth: int) -> bytes:
        made = called(self.random.choice(FUNCTIONS), self.several(depth))
        return made[:-1] + self.random.choice((pickle.REDUCE, pickle.REDUCE, pickle.NEWOBJ))

    def built(self, depth: int) -> bytes:
        if self.random.random() < 0.5:
            return with_attribute(self.call(depth), self.random.choice(WORDS))
        return self.value(depth) + self.value(depth) + pickle.BUILD

    def again(self, depth: int) -> bytes:
        return self.random.choice((pickle.BINGET + bytes([self.random.randrange(20)]), pickle.NONE))

    def twice(self, depth: int) -> bytes:
        """A tuple of the same twice, again and again."""
        made = self.value(depth)
        for _ in range(self.random.choice((1, 5, 40))):
            self.memo += 1
            index = self.memo.to_bytes(4, "little")
            made += pickle.LONG_BINPUT + index + pickle.LONG_BINGET + index + pickle.TUPLE2
        return made


def forged(random: Random, place: Path, weights: dict[str, Tensor]) -> Path:
    """A checkpoint with random opcodes beside its weights."""
    return torch_file(place, weights, Opcodes(random, random.choice((5, 30, 200))).value())
