"""Built-in tasks, ``dataset/model``. Data sets are imported when a task is built, never before."""

BUILT_IN: dict[str, str] = {
    "digits/mlp": "llpf_plugin.tasks.digits:mlp",
    "digits/resnet": "llpf_plugin.tasks.digits:resnet",
    "digits/transformer": "llpf_plugin.tasks.digits:transformer",
    "mnist/lenet5": "llpf_plugin.tasks.vision:mnist_lenet5",
    "cifar10/resnet8": "llpf_plugin.tasks.vision:cifar10_resnet8",
    "cifar10/resnet18": "llpf_plugin.tasks.vision:cifar10_resnet18",
}
"""Name to ``module:function``."""
