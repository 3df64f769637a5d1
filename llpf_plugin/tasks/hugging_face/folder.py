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
from llpf_plugin.tasks.hugging_face.described import Described
from llpf_plugin.tasks.hugging_face.remote import foreign, trusted
from llpf_plugin.tasks.optional import transformers

_TOKENIZERS = {"tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt"}
"""Without one of them, transformers makes an empty tokenizer and says nothing."""

_UNNAMED = re.compile(r"LABEL_\d+")


class Folder:
    """A folder that ``save_pretrained`` wrote.

    Args:
        place: its path.
        task: how the task is called in errors.
        labels: of the network's head, in place of those of the configuration: a list, or text with commas between.

    Raises:
        TaskError: it is not there, has no ``config.json``, or wants code of its own to be run and is not trusted (see
            `llpf_plugin.tasks.hugging_face.trusting`).
    """

    def __init__(self, place: str | Path | None, task: str, labels: str | Sequence[str] | None = None) -> None:
        if place is None:
            raise TaskError(f"{task} takes network and tokenizer from a folder: give -t model=FOLDER")
        self.place, self.task, self.trusted = Path(place), task, trusted()
        # Without a word on trust, transformers asks on the terminal whether it may run a folder's code.
        self._given = {"local_files_only": True, "trust_remote_code": self.trusted}
        file = self.place / "config.json"
        if not file.is_file():
            raise TaskError(
                f"{self.place} has no config.json, so that {task} cannot know its network: name a folder that "
                "save_pretrained wrote, with -t model=FOLDER"
            )
        document = read_json(file, TaskError)
        if not isinstance(document, dict):
            raise TaskError(f"{file} is not a configuration: it holds a {type(document).__name__}")
        own = "auto_map" in document
        if own and not self.trusted:
            raise foreign(file)
        self.known = transformers()
        kind = document.get("model_type")
        if not own and (kind is None or str(kind) not in self.known.CONFIG_MAPPING):
            raise TaskError(
                f"{file}: transformers {self.known.__version__} knows no model type {quoted(kind)}: "
                "install a version that does"
            )
        with explained(f"reading {file}", TaskError):
            self.config = self.known.AutoConfig.from_pretrained(str(self.place), **self._given)
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
        described = self.trusted and kind in (getattr(self.config, "auto_map", None) or {})
        if not described and type(self.config) not in auto._model_mapping:
            raise TaskError(f"{self.place}: transformers has no {self.config.model_type} for {self.task}")
        self.config.use_cache = False  # a cache of keys and values is of no use here
        self.config.dtype = "float32"

        def build() -> nn.Module:
            with explained(f"building the network of {self.place}", TaskError), Described(self.place):
                network: nn.Module = auto.from_config(self.config, trust_remote_code=self.trusted).float()
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
        return self._read("the tokenizer", self.known.AutoTokenizer)

    def image_processor(self) -> Any:
        """The image processor.

        Raises:
            TaskError: there is none, or it cannot be read.
        """
        if not (self.place / "preprocessor_config.json").is_file():
            raise TaskError(f"{self.place} has no preprocessor_config.json, which {self.task} takes images through")
        return self._read("the image processor", self.known.AutoImageProcessor, use_fast=False)

    def _read(self, what: str, kind: Any, **more: Any) -> Any:
        """What a class of transformers reads from the folder."""
        with explained(f"reading {what} of {self.place}", TaskError):
            try:
                return kind.from_pretrained(str(self.place), **more, **self._given)
            except ValueError as error:
                if "trust_remote_code" in str(error) and not self.trusted:
                    raise foreign(f"{what} of {self.place}") from error
                raise

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
