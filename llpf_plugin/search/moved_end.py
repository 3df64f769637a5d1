"""Where a path ends that does not end at B itself, but at a network that computes what B does."""

from llpf_plugin.evaluation.ends import measured_ends
from llpf_plugin.geometry.weights import Weights, assign, clone, select
from llpf_plugin.records import Knot
from llpf_plugin.search.assemble import PathAssembler
from llpf_plugin.search.progress import EquivalentEnd


def move_end(assembler: PathAssembler, start: Weights, end: Weights) -> None:
    """Put a network in place of B at the end of the path, and measure it; knot 1 stays B, for a search that is resumed.

    Args:
        assembler: of the path.
        start: A's complete state dict; the model has its buffers afterwards.
        end: the network's.
    """
    p, workspace = assembler.progress, assembler.workspace
    with workspace.clock.on("measuring"):
        rows = measured_ends(workspace, {"B": end}, assembler.sample, "B")
    assign(workspace.model, start)
    p.moved = EquivalentEnd(p.next_knot, p.next_knot + 1, rows)
    p.next_knot += 2
    assembler.knots.put(p.moved.knot, select(end, assembler.names))
    assembler.knots.put(p.moved.rest, clone({k: t for k, t in end.items() if k not in assembler.names}))
    p.labels[str(p.moved.knot)] = Knot("end")
    p.chain[-1] = p.moved.knot
