"""Models of the Hugging Face Hub, ``hf://organisation/name``: fetched before a command begins, then a folder."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from llpf_plugin.errors import CheckpointError, UsageError
from llpf_plugin.tasks import explained

PREFIX = "hf://"
ASIDE = ("*.json", "*.txt", "*.model", "*.jinja")
"""What a folder has beside the weights: configuration, tokenizer, image processor, template. No code."""

CODE = ("*.py",)
"""The code of a model whose kind is not one of transformers' own."""

WEIGHTS = ("*.safetensors", "*.bin")
"""The weights; the first kind that there is."""


def fetched(words: Sequence[str], trust: bool = False) -> list[str]:
    """The words of a command, with the folders that Hub models were fetched to in place of their names.

    Args:
        words: of the command.
        trust: whether their code is fetched too.

    Raises:
        UsageError: a name has another form.
        CheckpointError: there is no such model, it cannot be reached, or huggingface_hub is not installed.
    """
    return [_folder(word, trust) if word.startswith(PREFIX) else word for word in words]


def _folder(word: str, trust: bool) -> str:
    name, _, revision = word.removeprefix(PREFIX).partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise UsageError(f"{word}: write hf://organisation/name, or hf://organisation/name@revision")
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise CheckpointError(f"{word} needs huggingface_hub: pip install 'llpf-plugin[hf]'") from error
    with explained(f"fetching {word}", CheckpointError):
        files = hub.HfApi().list_repo_files(name, revision=revision or None)
        wanted = [*ASIDE, *_weights(files), *(CODE if trust else ())]
        place: Any = hub.snapshot_download(name, revision=revision or None, allow_patterns=wanted)
        return str(place)


def _weights(files: Sequence[str]) -> Sequence[str]:
    return next(([kind] for kind in WEIGHTS if any(fnmatch(file, kind) for file in files)), ())
