"""How earlier versions said things: rewritten where the meaning is the same, refused with a hint where it is not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from llpf_cli.parsing import Options
from llpf_plugin.errors import UsageError

MOVED = {
    "--pace": "-m schedule=NAME", "--phases": "-m phases=…", "--order": "-m order=FILE", "--share": "-m share=…",
    "--threshold": "-m threshold=…", "--barrier": "-m reject_above=…", "--correct": "-m correct=…",
    "--across": "-m across=…", "--repairs": "-m repairs=…", "--thin": "-m thin=…", "--steps": "-m steps=…",
}  # fmt: skip
"""Settings of a method, which are given with ``-m`` now."""

GONE = {
    "--sides": "walks from both ends were no faster; leave it out",
    "--polish": "polishing was no better than walking on; lower --max-loss, or use --method sphere-curve",
    "--control": "several control points did not help; use --method sphere-curve or bezier",
    "--optimizer": "Adam was never better; use --method sphere-curve or bezier",
    "--ablate": "ablations are a benchmark now: python benchmarks/ablate.py",
    "--no-settle": "ablations are a benchmark now: python benchmarks/ablate.py",
    "--settle": "settling is always on",
    "--channels-last": "images are laid out so on CUDA; leave it out",
}

SEARCHES = ("merge", "compare", "origin", "demo")
"""Commands that had these options."""


def rewritten(tokens: Sequence[str], options_of: Callable[[str], Options]) -> list[str]:
    """The same command as this version says it: ``merge --demo``, ``merge --compare`` and ``merge A origin``.

    Args:
        tokens: the command and its words.
        options_of: the options of a command, by its name.

    Raises:
        UsageError: an option has moved or is gone; names what replaces it.
    """
    words = list(tokens)
    for option in (word.partition("=")[0] for word in words if words[0] in SEARCHES):
        if option in MOVED:
            raise UsageError(f"{option} is a setting of the method now: {MOVED[option]}")
        if option in GONE:
            raise UsageError(f"{option} is gone: {GONE[option]}")
    if words[:1] != ["merge"]:
        return words
    origin = [i for i in options_of("merge").positions(words) if words[i] == "origin" and not Path("origin").exists()]
    if "--demo" in words:
        return ["demo", *(word for word in words[1:] if word != "--demo")]
    if "--compare" in words and origin:
        raise UsageError("a comparison is about two checkpoints, not the origin")
    if "--compare" in words:
        return ["compare", *(word for word in words[1:] if word != "--compare")]
    if origin:
        return ["origin", *(word for i, word in enumerate(words[1:], start=1) if i != origin[0])]
    return words
