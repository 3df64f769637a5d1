"""Tasks put together at random from a model, data and an objective, each of which may go wrong in its own way."""

from pathlib import Path
from random import Random

HEAD = """import collections, math, os, sys, threading
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from llpf_plugin import LoaderData, Task, TensorData, classification

G = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=G)
Y = (X[:, 0] > 0).long()
CALLS = collections.Counter()

def count(name):
    CALLS[name] += 1
    return CALLS[name]

class Net(nn.Module):
    def __init__(self, *more):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), *more, nn.Linear(8, 3))
    def forward(self, x):
        return self.body(x)
"""

MODELS = {
    "plain": "MODEL = Net()",
    "norm": "MODEL = Net(nn.BatchNorm1d(8))",
    "dropout": "MODEL = Net(nn.Dropout(0.5))",
    "no parameters": "MODEL = nn.Sequential(nn.Flatten(), nn.ReLU())",
    "half": "MODEL = Net().half()",
    "double": "MODEL = Net().double()",
    "complex": "MODEL = Net(); MODEL.register_parameter('c', nn.Parameter(torch.zeros(2, dtype=torch.complex64)))",
    "lazy": "MODEL = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 3))",
    "meta": "MODEL = Net().to('meta')",
    "frozen": "MODEL = Net().requires_grad_(False)",
    "tied": "MODEL = Net(nn.Linear(8, 8), nn.Linear(8, 8)); MODEL.body[3].weight = MODEL.body[2].weight",
    "empty parameter": "MODEL = Net(); MODEL.e = nn.Parameter(torch.zeros(0, 3))",
    "odd name": "MODEL = Net(); MODEL.register_parameter('[red]\\x1b x', nn.Parameter(torch.zeros(2)))",
    "raises late": """class Late(Net):
    def forward(self, x):
        if count('forward') > 40: raise KeyError('late')
        return super().forward(x)
MODEL = Late()""",
    "nan late": """class Nan(Net):
    def forward(self, x):
        return super().forward(x) * (float('nan') if count('forward') > 30 else 1)
MODEL = Nan()""",
    "tuple": """class Pair(Net):
    def forward(self, x):
        return super().forward(x), None
MODEL = Pair()""",
    "in place": """class Place(Net):
    def forward(self, x):
        x.mul_(1.01)
        return super().forward(x)
MODEL = Place()""",
    "state dict raises": """class State(Net):
    def state_dict(self, *a, **k):
        raise RuntimeError('no state')
MODEL = State()""",
    "extra state": """class Extra(Net):
    def get_extra_state(self): return {'n': 1}
    def set_extra_state(self, state): pass
MODEL = Extra()""",
    "no module": "MODEL = lambda x: x",
    "recursion": """class Deep(Net):
    def forward(self, x): return self(x)
MODEL = Deep()""",
    "changes itself": """class Grows(Net):
    def forward(self, x):
        setattr(self, 'w%d' % count('forward'), nn.Parameter(torch.zeros(1)))
        return super().forward(x)
MODEL = Grows()""",
}  # fmt: skip

DATA = {
    "tensors": "DATA = TensorData(X, Y)",
    "one example": "DATA = TensorData(X[:1], Y[:1])",
    "none": "DATA = TensorData(X[:0], Y[:0])",
    "unlike lengths": "DATA = TensorData(X, Y[:10])",
    "float targets": "DATA = TensorData(X, Y.float())",
    "targets too large": "DATA = TensorData(X, Y + 9)",
    "negative targets": "DATA = TensorData(X, -Y - 5)",
    "nan": "DATA = TensorData(X * float('nan'), Y)",
    "int inputs": "DATA = TensorData(X.long(), Y)",
    "wrong width": "DATA = TensorData(X[:, :5], Y)",
    "loader": "DATA = LoaderData(DataLoader(TensorDataset(X, Y), 16, shuffle=True))",
    "bare loader": "DATA = DataLoader(TensorDataset(X, Y), 16)",
    "last of one": "DATA = LoaderData(DataLoader(TensorDataset(X[:33], Y[:33]), 16))",
    "list of batches": "DATA = LoaderData([(X[:32], Y[:32]), (X[32:], Y[32:])])",
    "dictionaries": "DATA = LoaderData([{'x': X[:32], 'y': Y[:32]}, {'x': X[32:], 'y': Y[32:]}])",
    "strings": "DATA = LoaderData([(X[:32], ['a'] * 32)] * 2)",
    "generator": "DATA = LoaderData((b for b in [(X, Y)]))",
    "none batches": "DATA = LoaderData([None, None])",
    "a number": "DATA = 3",
    "nothing": "DATA = None",
    "raises at 20": """class Bad(Dataset):
    def __len__(self): return 64
    def __getitem__(self, i):
        if i == 20: raise OSError('broken image')
        return X[i], Y[i]
DATA = LoaderData(DataLoader(Bad(), 16))""",
    "lies about its length": """class Lies(Dataset):
    def __len__(self): return 10**6
    def __getitem__(self, i):
        if i >= 64: raise IndexError(i)
        return X[i], Y[i]
DATA = LoaderData(DataLoader(Lies(), 16))""",
    "negative length": """class Negative(Dataset):
    def __len__(self): return -1
    def __getitem__(self, i): return X[i % 64], Y[i % 64]
DATA = LoaderData(DataLoader(Negative(), 16))""",
    "endless": """class Endless(IterableDataset):
    def __iter__(self):
        while True: yield X[0], Y[0]
DATA = LoaderData(DataLoader(Endless(), 512))""",
}  # fmt: skip

ENTROPY = "F.cross_entropy(model(batch[0]), batch[1])"


def objective(*lines: str) -> str:
    """A function of model and batch."""
    return "\n    ".join(["def OBJECTIVE(model, batch):", *lines])


def usually(line: str) -> str:
    """The usual objective after another line."""
    return objective(line, "return classification(model, batch)")


OBJECTIVES = {
    "usual": "OBJECTIVE = classification",
    "cross entropy": objective(f"return {ENTROPY}"),
    "vector": objective("return F.cross_entropy(model(batch[0]), batch[1], reduction='none')"),
    "number": objective(f"return float({ENTROPY})"),
    "none": objective(ENTROPY),
    "text": objective("return 'loss'"),
    "dictionary": objective(f"return {{'loss': {ENTROPY}}}"),
    "detached": objective(f"return {ENTROPY}.detach()"),
    "no grad": "@torch.no_grad()\n" + objective(f"return {ENTROPY}"),
    "constant": objective("return torch.tensor(1.0, requires_grad=True)"),
    "infinite": objective("return model(batch[0]).sum() * math.inf"),
    "negative": objective("return -model(batch[0]).pow(2).mean()"),
    "integer": objective("return (model(batch[0]).argmax(-1) == batch[1]).sum()"),
    "too many answers": objective("return model(batch[0]).sum(), 1, 2, 3"),
    "odd count": objective(f"return {ENTROPY}, 10**9"),
    "backward": objective(f"loss = {ENTROPY}", "loss.backward()", "return loss"),
    "exits": usually("sys.exit('over') if count('o') > 25 else None"),
    "raises a class": "class Odd(BaseException):\n    pass\n" + usually("if count('o') > 12: raise Odd('x' * 9999)"),
    "memory": usually("torch.zeros(10**13) if count('o') > 9 else None"),
    "default dtype": usually("torch.set_default_dtype(torch.float64)"),
    "changes the weights": usually("[p.data.mul_(1.5) for p in model.parameters()]"),
    "one argument": "def OBJECTIVE(model):\n    return 1",
    "no function": "OBJECTIVE = 'cross_entropy'",
    "prints escapes": objective("raise ValueError('\\x1b[2J\\x07 gone')"),
}

RETURNS = (
    "Task(MODEL, DATA, objective=OBJECTIVE)",
    "Task(MODEL, DATA, DATA, DATA, objective=OBJECTIVE)",
    "Task(MODEL, TensorData(X, Y), DATA, objective=OBJECTIVE)",
    "Task(MODEL, DATA, objective=OBJECTIVE)",
    "(MODEL, DATA)",
    "MODEL",
    "None",
    "Task(model=MODEL)",
)


def written(seed: int, folder: Path) -> Path:
    """The file of a task; its function is ``task``."""
    random = Random(seed)
    parts = [random.choice(list(table.values())) for table in (MODELS, DATA, OBJECTIVES)]
    if random.random() < 0.5:  # one part alone is odd, so that it is reached
        usual = ["MODEL = Net()", "DATA = TensorData(X, Y)", "OBJECTIVE = classification"]
        place = random.randrange(3)
        parts = [part if i == place else usual[i] for i, part in enumerate(parts)]
    made = random.choice(RETURNS[:4] if random.random() < 0.85 else RETURNS)
    text = "\n".join([HEAD, *parts, f"\ndef task():\n    return {made}\n"])
    if random.random() < 0.05:
        text = text.replace("return", random.choice(("retrun", "raise", "yield")), 1)
    (folder / "mine.py").write_text(text)
    return folder / "mine.py"
