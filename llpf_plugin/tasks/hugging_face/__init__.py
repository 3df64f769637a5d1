"""Tasks for folders that ``save_pretrained`` wrote: network, tokenizer and image processor come from the folder.

Nothing is downloaded, and no code of a folder is run unless it is trusted. The packages are imported when a task is
built.
"""

from typing import TYPE_CHECKING

from llpf_plugin.lazy import lazily
from llpf_plugin.tasks.hugging_face.remote import trusting

if TYPE_CHECKING:
    from llpf_plugin.tasks.hugging_face.network import build_network, configuration, example_inputs, example_tensor

__all__ = ["build_network", "configuration", "example_inputs", "example_tensor", "trusting"]

__getattr__ = lazily(__name__, dict.fromkeys(__all__, "network"))
