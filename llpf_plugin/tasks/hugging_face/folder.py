"""What a folder says of its network: configuration, the network itself, tokenizer, image processor, labels."""

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from llpf_plugin.documents import quoted, read_json
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.optional import transformers

_TOKENIZERS = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt"}
"""Without one of them, transformers makes an empty tokenizer and says nothing."""

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Otherwise transformers asks on the terminal whether it may run a folder's code."""

_UNNAMED = re.compile(r"LABEL_\d+")


class Folder:
    """A folder that ``save_pretrained`` wrote.

    Args:
        place: its path.
        task: how the task is called in errors.
        labels: of the network's head, in place of those of the configuration: a list, or text with commas between.

    Raises:
        TaskError: it is not there, has no ``config.json``, or wants code of its own to be run.
    """

    def __init__(self, place: str | Path | None, task: str, labels: str | Sequence[str] | None = None) -> None:
        if place is None:
            raise TaskError(f"{task} takes network and tokenizer from a folder: give -t model=FOLDER")
        self.place, self.task = Path(place), task
        file = self.place / "config.json"
        if not file.is_file():
            raise TaskError(
                f"{self.place} has no config.json, so that {task} cannot know its network: name a folder that "
                "save_pretrained wrote, with -t model=FOLDER"
            )
        document = read_json(file, TaskError)
        if not isinstance(document, dict) or "auto_map" in document:
            raise TaskError(
                f"{file} names code of its own (auto_map), which is not run: write a task in Python that builds the "
                "network, and name it with --task file.py:function"
            )
        self.known = transformers()
        if (kind := document.get("model_type")) is None or str(kind) not in self.known.CONFIG_MAPPING:
            raise TaskError(
                f"{file}: transformers {self.known.__version__} knows no model type {quoted(kind)}: "
                "install a version that does"
            )
        with explained(f"reading {file}", TaskError):
            self.config = self.known.AutoConfig.from_pretrained(str(self.place), **_LOCAL)
        if labels is not None:
            names = labels.split(",") if isinstance(labels, str) else list(labels)
            self.config.id2label = dict(enumerate(map(str, names)))
            self.config.label2id = {name: i for i, name in self.config.id2label.items()}

    def builder(self, kind: str, checkpointing: bool = False) -> Callable[[], nn.Module]:
        """What makes the network with fresh weights, in float32.

        Args:
            kind: the class of transformers that knows the network's head, such as ``AutoModelForCausalLM``.
            checkpointing: whether it computes activations again on the way back instead of keeping them.

        Raises:
            TaskError: there is no such network of this model type.
        """
        auto = getattr(self.known, kind)
        if type(self.config) not in auto._model_mapping:
            raise TaskError(f"{self.place}: transformers has no {self.config.model_type} for {self.task}")
        self.config.use_cache = False  # a cache of keys and values is of no use here
        self.config.dtype = "float32"

        def build() -> nn.Module:
            with explained(f"building the network of {self.place}", TaskError):
                network: nn.Module = auto.from_config(self.config).float()
                if checkpointing:
                    with warnings.catch_warnings(action="ignore"):  # version 5 renames it, and has both names
                        network.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
            return network

        return build

    def tokenizer(self) -> Any:
        """The tokenizer.

        Raises:
            TaskError: there is none, or it cannot be read.
        """
        if not any(file.name in _TOKENIZERS or file.suffix == ".model" for file in self.place.iterdir()):
            raise TaskError(f"{self.place} has no tokenizer, which {self.task} takes text apart with")
        with explained(f"reading the tokenizer of {self.place}", TaskError):
            return self.known.AutoTokenizer.from_pretrained(str(self.place), **_LOCAL)

    def image_processor(self) -> Any:
        """The image processor.

        Raises:
            TaskError: there is none, or it cannot be read.
        """
        if not (self.place / "preprocessor_config.json").is_file():
            raise TaskError(f"{self.place} has no preprocessor_config.json, which {self.task} takes images through")
        with explained(f"reading the image processor of {self.place}", TaskError):
            return self.known.AutoImageProcessor.from_pretrained(str(self.place), use_fast=False, **_LOCAL)

    def label(self, word: str, at: str) -> int:
        """The number of a label: as the configuration names it, or the number itself.

        Raises:
            TaskError: the network's head does not have it.
        """
        names = {str(name): int(number) for name, number in self.config.label2id.items()}
        if word in names:
            return names[word]
        if word.isdigit() and int(word) < self.config.num_labels:
            return int(word)
        listed = ", ".join(map(repr, list(names)[:8])) + (" …" if len(names) > 8 else "")
        raise TaskError(f"{at}: the head of {self.place} has no label {word!r}; it has {listed}")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in order; empty where the configuration names none."""
        named = sorted((int(number), str(name)) for number, name in self.config.id2label.items())
        return () if self.unnamed else tuple(name for _, name in named)

    @property
    def unnamed(self) -> bool:
        """Whether the configuration names no class."""
        return all(_UNNAMED.fullmatch(str(name)) for name in self.config.label2id)
