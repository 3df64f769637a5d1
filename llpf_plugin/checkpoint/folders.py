"""Which file of a folder holds the weights; a folder or a file that holds an adapter, not a model, is refused."""

from collections.abc import Iterable
from pathlib import Path

from llpf_plugin.checkpoint.file_kind import INDEX
from llpf_plugin.errors import CheckpointError

BIN_INDEX = ".bin.index.json"
INDICES = (INDEX, BIN_INDEX)
"""How the names of indices of shards end: of safetensors, and of what ``torch.save`` wrote."""

WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".ot", ".tflite", ".npz"}
)
"""Suffixes of files that hold weights or the state of a training."""

CARD, CARD_HEAD = "README.md", "---\ntags:\n- merge\n- llpf\n---\n"
"""The model card that a merge writes into its folder, and how it begins."""

_LARGEST = 100_000_000  # bytes of a file that is copied along
_ADAPTER = "adapter_config.json"
_USUAL = "model.safetensors"
_TRAINING = ("trainer_state.json", CARD)


def weight_files(folder: Path) -> Path:
    """The index, or the single file, of a folder that holds a checkpoint: safetensors, else ``pytorch_model.bin``.

    Raises:
        CheckpointError: the folder holds none, several, or an adapter.
    """
    if (folder / _USUAL).is_file() and (folder / "config.json").is_file():  # what transformers itself takes
        return folder / _USUAL
    kinds = ((f"*{INDEX}", "*.safetensors"), (f"*{BIN_INDEX}", "pytorch_model*.bin"))
    found = next((found for kind in kinds if (found := _first(folder, kind))), [])
    if (folder / _ADAPTER).is_file() and all(file.name.startswith("adapter_model") for file in found):
        raise adapter(folder)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(file.name for file in found[:5])
        raise CheckpointError(f"{folder} holds several checkpoints ({listed}): name the file or the index you mean")
    raise CheckpointError(
        f"{folder} is a folder without *.safetensors, pytorch_model.bin or an index of shards: name a checkpoint file, "
        "or a folder that holds one"
    )


def companions(folder: Path) -> tuple[Path, ...]:
    """What belongs to the weights of a folder with a ``config.json``: configurations, tokenizer, image processor."""
    if not (folder / "config.json").is_file():
        return ()
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    own = [f for f in files if f.suffix not in WEIGHTS and not f.name.endswith(INDICES) and f.name not in _TRAINING]
    return tuple(file for file in own if file.stat().st_size <= _LARGEST)


def is_card(file: Path) -> bool:
    """Whether a file is the card of a merge, and none that somebody wrote."""
    if file.name != CARD or file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as content:
        return content.read(len(CARD_HEAD)) == CARD_HEAD.encode()


def _first(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of the first pattern that has any."""
    return next((found for pattern in patterns if (found := sorted(folder.glob(pattern)))), [])


def check_no_adapter(path: Path, names: Iterable[str]) -> None:
    """Refuse weights that are the factors of a LoRA adapter.

    Raises:
        CheckpointError: they are.
    """
    names = list(names)
    if any("lora_A" in name for name in names) and all("lora_" in name for name in names):
        raise adapter(path)


def adapter(path: Path) -> CheckpointError:
    """The error for an adapter, which says why a path adds nothing there."""
    return CheckpointError(
        f"{path} is an adapter (LoRA), not a model: adapters of one base finetune the same network, which an average "
        "joins already, so that a path adds nothing; to compare or merge them, put each into its base with peft "
        "(PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder)) and name these folders"
    )
