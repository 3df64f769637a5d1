"""Tasks for folders that ``save_pretrained`` wrote: network, tokenizer and image processor come from the folder.

Nothing is downloaded, and no code of a folder is run. The packages are imported when a task is built.
"""

from typing import TYPE_CHECKING

from llpf_plugin.lazy import lazily

if TYPE_CHECKING:
    from llpf_plugin.tasks.hugging_face.network import build_network, configuration, example_inputs, example_tensor

__all__ = ["build_network", "configuration", "example_inputs", "example_tensor"]

__getattr__ = lazily(__name__, dict.fromkeys(__all__, "network"))
