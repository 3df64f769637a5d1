"""Time and memory of ``llpf align``, as a user runs it, on large networks with initial weights.

    python benchmarks/large_alignment.py --networks resnet50 llama-0.1b
    python benchmarks/large_alignment.py --networks llama-1.1b --threads 2

Both files are written first; what is measured is the whole command, from its start until the aligned file lies there.
Memory is anonymous memory at its highest (what maps a file does not count), looked at ten times a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from provenance import add_table, publish, stamp
from safetensors.torch import save_file
from shared import table

MB = 2**20


@dataclass(frozen=True)
class Large:
    """A network of the table.

    Attributes:
        model: its specification, as ``--model`` takes it.
        inputs: what else the command line says of it.
    """

    model: str
    inputs: Sequence[str] = ()


LLAMAS = {
    "0.1b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 2048},
    "1.1b": {"hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32, "intermediate_size": 5632},
}
"""Sizes; both have 4 heads of keys and values, 32,000 words, and weights that are not tied."""

NETWORKS = {
    "resnet50": Large("torchvision:resnet50", ("-i", "1x3x64x64")),
    **{f"llama-{size}": Large(f"{__file__}:llama_{size.replace('.', '_')}") for size in LLAMAS},
}


def llama(size: str) -> tuple[torch.nn.Module, Any]:
    """A Llama of a size, with initial weights, and a few words for it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {"num_key_value_heads": 4, "vocab_size": 32000, "tie_word_embeddings": False, "use_cache": False}
    model = LlamaForCausalLM(LlamaConfig(**LLAMAS[size], **settings)).eval()
    return model, {"input_ids": torch.arange(16)[None]}


def llama_0_1b() -> tuple[torch.nn.Module, Any]:
    return llama("0.1b")


def llama_1_1b() -> tuple[torch.nn.Module, Any]:
    return llama("1.1b")


def write(network: Large, places: Sequence[Path]) -> int:
    """Initial weights of a network under several seeds, in files; their number."""
    from llpf_cli.models import load_model

    for seed, place in enumerate(places):
        torch.manual_seed(seed)
        model, _ = load_model(network.model, {}, "cpu")
        save_file(model.state_dict(), place)
    return sum(p.numel() for p in model.parameters())


def measured(network: Large, folder: Path) -> tuple[str, ...]:
    """What one run takes: parameters, seconds, peak in megabytes, and over the weights in float32."""
    a, b, out = (folder / f"{name}.safetensors" for name in ("a", "b", "out"))
    count = write(network, (a, b))
    command = [
        str(Path(sys.executable).with_name("llpf")),
        "align",
        str(a),
        str(b),
        "--model",
        network.model,
        *network.inputs,
    ]
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen([*command, "-o", str(out)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    seconds, size = time.monotonic() - began, 4 * count / MB
    return f"{count / 1e6:.1f} M", f"{seconds:.0f}", f"{peak:.0f}", f"{peak / size:.2f}"


def anonymous(pid: int) -> float:
    """Megabytes of anonymous memory of a process, 0 once it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where files are written while it runs")
    add_table(parser)
    asked = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    torch.set_num_threads(asked.threads)
    rows = []
    for name in asked.networks:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            rows.append((name, *measured(NETWORKS[name], Path(folder))))
        print(rows[-1], flush=True)
    head = ("network, initial weights", "parameters", "wall, s", "peak, MB", "over float32 weights")
    publish(table(head, rows), asked.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
