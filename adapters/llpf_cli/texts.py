"""The help of every command: a summary for the list, a description, and examples; what a wrong command line is told."""

import re

EXIT_CODES = "Exit codes: 0 connected or done, 1 error, 2 wrong usage, 3 goal not reached, 130 Ctrl-C."

HELP = {
    "merge": """Connect two or more trained networks by paths of low training loss, and merge them along these paths.

A checkpoint contains neither the architecture nor the data; you supply both as a *task*. The result is the merged model
in the format of A, the path, one picture, and a verdict by the paper's three criteria. More than two models are merged
pair by pair.""",
    "compare": """Run several methods on one pair within one budget, side by side.

Every method is a run of its own, in a folder of its own, so that a comparison that was stopped continues with --resume.
Unless --budget is given, every method gets the gradient steps that LLPF took.""",
    "align": """Bring the units of one network nearest to another's; what it computes stays the same.

Units change places, and are scaled and rotated where the network allows it. Weight matching looks at weights only: no
data are needed. The result is B in B's own format. With more models, all are aligned to A.""",
    "check": """Look at two checkpoints before any merge: do they fit, how are they related, and what would merge them?

Neither task nor data are needed. Names, shapes, dtypes, ties, and of two folders configuration and tokenizer are
compared; the cosines of their tensors tell finetuned networks from those that were trained apart. With a task it also
says what a walk would cost. Exit code 3: these cannot be merged.""",
    "origin": """Walk from a trained network towards the origin along low training loss (paper, Algorithm 2).

Layers with a variance sphere shrink, normalizations stay, and every layer's learning rate falls with its variance.""",
    "order": """Show in what order data reaches the layers of a model: layers, parallel branches, phases.

MODEL is module:function, file.py:function, torchvision:NAME, timm:NAME, hf:CONFIG_OR_FOLDER, the name of a task such as
digits/resnet, or a JSON file that this command wrote; key=value pairs after it go to the function.""",
    "report": """Measure finished runs again from their files alone, compare them, and write one page with all of it.

The page needs no network. Undefined metrics show the reason instead.""",
    "point": """Write the model at any place of a path that was found, in A's format.

RUN is the folder that llpf merge or llpf origin wrote. No data are read: running statistics of BatchNorm stay those of
A, and llpf rebn estimates them.""",
    "convert": """Write a checkpoint in another format: the same names, dtypes, ties and bits.

Formats are one file of torch.save, one of safetensors, and a folder of safetensors as transformers reads it. What lies
around the weights, such as an optimizer's state, is left out and named. No code in a file is ever run.""",
    "rebn": """Estimate the running statistics of BatchNorm again, on the training data of a task.

After any average of weights, whoever made it, these statistics are those of other weights, and accuracy is near chance
until they are estimated again. Weights stay as they are.""",
    "methods": """List the methods that find a path, or show one with its settings, defaults and source.""",
    "demo": """Train two small networks on scikit-learn's digits from two seeds, and connect them.

Nothing is downloaded. It prints the command that connects the two, then runs it.""",
}
"""By command; the first line is its summary."""

SYNOPSIS = {
    "merge": "A B [C …] --task TASK [OPTIONS]",
    "compare": "A B --task TASK [OPTIONS]",
    "align": "A B [C …] (--model MODEL | --task TASK) -o OUT [OPTIONS]",
    "check": "A B [OPTIONS]",
    "origin": "A --task TASK [OPTIONS]",
    "order": "MODEL [key=value …] [OPTIONS]",
    "report": "RUN … [OPTIONS]",
    "point": "RUN --at T -o OUT [OPTIONS]",
    "convert": "IN OUT [OPTIONS]",
    "rebn": "X --task TASK -o OUT [OPTIONS]",
    "methods": "[NAME]",
    "demo": "[OPTIONS]",
}

EXAMPLES = {
    "merge": """
- `llpf merge a.pt b.pt --task digits/resnet --max-loss 0.1`
- `llpf merge a.pt b.pt --task mytask.py:task -t width=32 --device cuda --precision bfloat16`
- `llpf merge a.pt b.pt c.pt d.pt --task digits/resnet -o tree`
- `llpf merge a.pt b.pt --task digits/resnet --method sphere-curve -m steps=200`
- `llpf merge a.pt b.pt --task cifar10/resnet18 -m schedule=resnet18-cifar10-fdf`
- `llpf merge folder-a folder-b --task hf/causal-lm -t text=corpus.txt`
- `llpf merge a.pt b.pt --task mnist/lenet5 --heads union --labels 0,1,2,3,4 --labels 5,6,7,8,9`
- `llpf merge a.pt b.pt --model timm:resnet18 --method linear` averages without data.
""",
    "compare": """
- `llpf compare a.pt b.pt --task digits/resnet -o compared`
- `llpf compare a.pt b.pt --task digits/resnet --methods llpf,sphere-curve,mine.py:Method`
""",
    "align": """
- `llpf align a.pt b.pt --model timm:resnet18 -o b-aligned.pt`
- `llpf align a.pt b.pt --model mymodel.py:build -t width=64 --input 1x3x32x32 -o b-aligned.pt`
- `llpf align folder-a folder-b --model hf:folder-a -o folder-b-aligned`
- `llpf align a.pt b.pt c.pt --task digits/resnet -o aligned`
""",
    "check": """
- `llpf check a.pt b.pt`
- `llpf check folder-a folder-b --json`
- `llpf check a.pt b.pt --align --model timm:resnet18`
- `llpf check a.ckpt b.ckpt --align --task mytask.py:task`
""",
    "origin": """
- `llpf origin a.pt --task digits/resnet --to 0.25` stops at a quarter of every layer's variance.
- `llpf origin a.pt --task digits/resnet --to b.pt` stops on the variance spheres of another model.
- `llpf origin a.pt --task mnist/lenet5 -m schedule=lenet5-mnist-origin` walks the paper's schedule.
""",
    "order": """
- `llpf order torchvision:resnet18`
- `llpf order hf:bert --format tree --depth 3`
- `llpf order mymodel.py:build width=64 --input 1x3x32x32 -o order.svg -o order.json`
- `llpf order order.json --phases block`
- `llpf order mymodel.py:build --unused` names what gets no gradient; `--groups` lists units to prune together.
""",
    "report": """
- `llpf report run` measures the path in `run/` again; writes `report.html`, `report.json` and `figures/` there.
- `llpf report llpf-run bezier-run -o comparison` compares runs of one task.
- `llpf report run --metrics all`, or `--metrics saddle,sharpness`
- `llpf report run --json | jq '.runs[0].metrics.train'`
""",
    "point": """
- `llpf point run --at 0.3 -o x.pt`
- `llpf point run --at mid -o x.safetensors` writes another format than A's.
""",
    "convert": """
- `llpf convert last.ckpt weights.safetensors --strip model.` takes the network out of a Lightning checkpoint.
- `llpf convert model.pt folder/ --shard-size 500MB`
- `llpf convert folder model.pt`
- `llpf convert timm.pth ema.safetensors --state state_dict_ema`
""",
    "rebn": """
- `llpf rebn average.pt --task digits/resnet -o average-rebn.pt`
- `llpf rebn swa.ckpt --task mytask.py:task --sample 2048 -o swa-rebn.ckpt`
""",
    "methods": """
- `llpf methods`
- `llpf methods llpf`
- `llpf methods mine.py:Method`
""",
    "demo": """
- `llpf demo`
- `llpf demo --compare -o compared`
""",
}


PHRASES = (
    (r'Command ".*?" parameter (?:--)?([A-Z].*?) requires an argument', r"\1 is missing"),
    (r'Command ".*?" parameter (--?[a-z].*?) requires an argument', r"\1 needs a value"),
    (r"Parameter (--?[a-z].*?) specified multiple times", r"\1 is given twice"),
    (r"Unused Tokens: \['(.*?)'.*\]", r"\1 is one argument too many"),
    (r"^(Unknown|Invalid)", lambda found: found[1].lower()),
)
"""How the parser of command lines says things, and how we do."""


def said(error: str) -> str:
    """What is wrong with a command line, in one sentence."""
    text = " ".join(error.split()).rstrip(".")
    for pattern, phrase in PHRASES:
        text = re.sub(pattern, phrase, text)
    return text


def epilogue(command: str) -> str:
    """What stands below a command's options."""
    return f"Examples:\n{EXAMPLES[command]}\n{EXIT_CODES}"
