"""The network that a configuration describes, and what it is called with."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.documents import read_json
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.hugging_face.described import Described
from llpf_plugin.tasks.hugging_face.remote import foreign, own_class, trusted
from llpf_plugin.tasks.optional import transformers


def configuration(place: str, **arguments: Any) -> Any:
    """The configuration of a folder; nothing is downloaded, and none of its code is run unless that is trusted.

    Args:
        place: the folder.
        **arguments: take the place of what it says.

    Raises:
        TaskError: it names code of its own, and is not trusted (see `llpf_plugin.tasks.hugging_face.trusting`).
    """
    known = transformers()
    file, trust = Path(place) / "config.json", trusted()
    document = read_json(file, TaskError) if file.is_file() else {}
    if not trust and isinstance(document, dict) and "auto_map" in document:
        raise foreign(file)
    return known.AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=trust, **arguments)


def build_network(config: Any) -> nn.Module:
    """The network with fresh weights: of the class that the configuration names, else the one without a head.

    It returns no keys and values for later calls: results keep their order, and so would the units of all heads.

    Raises:
        TaskError: the network is larger than the files of the configuration's folder can be.
    """
    known = transformers()
    config.use_cache = False
    kind, trust = getattr(known, (config.architectures or [""])[0], None), trusted()
    auto = getattr(known, (trust and own_class(config)) or "AutoModel")
    with Described(Path(config.name_or_path)) if config.name_or_path else nullcontext():
        network: nn.Module = kind(config) if kind else auto.from_config(config, trust_remote_code=trust)
    return network


def example_inputs(network: Any, config: Any) -> dict[str, Tensor] | None:
    """Example inputs as the configuration describes them: text, images, sound, or several; None if it does not."""
    try:
        return _described(network, config)
    except AttributeError:
        return None


def example_tensor(shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """An example: zeros for whole numbers, which are valid indices, seeded noise otherwise."""
    if kind.is_floating_point or kind.is_complex:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(kind)
    return torch.zeros(shape, dtype=kind)


def _described(network: Any, config: Any) -> dict[str, Tensor]:
    inputs: dict[str, Tensor] = {}
    main = network.main_input_name
    vision = getattr(config, "vision_config", config)
    if main == "pixel_values" or vision is not config:
        side = vision.image_size
        height, width = (side, side) if isinstance(side, int) else side
        inputs["pixel_values"] = example_tensor((1, getattr(vision, "num_channels", 3), height, width), torch.float32)
    if main == "input_features":
        length = 2 * getattr(config, "max_source_positions", 1500)
        inputs[main] = example_tensor((1, config.num_mel_bins, length), torch.float32)
    if main == "input_values":
        inputs[main] = example_tensor((1, 16_000), torch.float32)
    if main == "input_ids":
        inputs[main] = _tokens(config)
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = _tokens(config)
    return inputs


def _tokens(config: Any) -> Tensor:
    """Eight tokens that differ, as attention over alike ones shows nothing; the first of a vocabulary are special."""
    most = config.get_text_config().vocab_size
    return torch.randint(min(5, most - 1), most, (1, 8), generator=torch.Generator().manual_seed(0))
