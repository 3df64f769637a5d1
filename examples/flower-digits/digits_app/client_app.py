"""The clients. Only the mod knows LLPF; everything else is a client as it would be without it."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_app import dataset
from digits_app.model import Net, evaluate, train
from llpf_flower import llpf_merge_mod
from llpf_plugin import Defaults, Task, TensorData


def client_data(context: Context):
    """This client's images and digits."""
    number, clients = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    return dataset.client_set(number, clients, float(context.run_config["alpha"]), int(context.run_config["seed"]))


def own_start(context: Context):
    """The network that this client begins with, trained once, or None if all begin with the server's."""
    if not context.run_config["independent-starts"]:
        return None
    if "own-start" not in context.state:
        seed = 1000 * int(context.run_config["seed"]) + int(context.node_config["partition-id"]) + 1
        torch.manual_seed(seed)
        net, epochs = Net(), int(context.run_config["start-epochs"])
        train(net, client_data(context), epochs, float(context.run_config["lr"]), seed)
        context.state["own-start"] = ArrayRecord(net.state_dict())
    return context.state["own-start"].to_torch_state_dict()


def task(context: Context) -> Task:
    """What the mod needs to know: network and data (the objective is cross-entropy)."""
    return Task(Net(), TensorData(*client_data(context)), defaults=Defaults(batch_size=32, lr=0.05))


merge = llpf_merge_mod(task, own=own_start)


def where_asked(message, context, call_next):
    """The mod, in the runs that need it."""
    wanted = context.run_config["strategy"] in ("llpf-own", "llpf-merge")
    return merge(message, context, call_next) if wanted else call_next(message, context)


app = ClientApp(mods=[where_asked])


@app.train()
def train_client(message: Message, context: Context) -> Message:
    """Train what the server sent; in the first round from this client's own start, if it has one."""
    config, net = message.content["config"], Net()
    start = own_start(context) if config["server-round"] == 1 else None
    net.load_state_dict(start or message.content["arrays"].to_torch_state_dict())
    data = client_data(context)
    epochs, lr = int(context.run_config["local-epochs"]), float(context.run_config["lr"])
    loss = train(net, data, epochs, lr, int(config["server-round"]), float(config.get("proximal-mu", 0.0)))
    which = int(context.node_config["partition-id"])  # a client's place in the ring, where the strategy is gossip
    metrics = MetricRecord({"num-examples": len(data[1]), "partition-id": which, "train-loss": loss})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate_client(message: Message, context: Context) -> Message:
    """Evaluate the model that serves this client on the test images."""
    net = Net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    loss, accuracy = evaluate(net, dataset.test_set())
    examples = len(client_data(context)[1])
    metrics = MetricRecord({"num-examples": examples, "loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
