"""Scores over the examples of some classes."""

import pytest
import torch
from helpers.classes import classes, matrix
from torch import nn

from llpf_plugin import Compute, Task, TensorData
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.by_class import scores_by_class
from llpf_plugin.geometry import assign
from llpf_plugin.workspace import Workspace


def test_every_group_has_the_score_of_its_own_examples() -> None:
    workspace = Workspace(classes(), Compute("cpu"))
    assign(workspace.model, matrix((1, 0), (0, 1)))  # right on the first two; the others are a tie, and wrong
    found = scores_by_class(workspace, workspace.task.train, {"0": [0], "1": [1], "all": [0, 1], "2": [2]})
    assert {name: score.accuracy for name, score in found.items() if score} == {"0": 1.0, "1": 0.5, "all": 0.75}
    assert found["2"] is None and found["all"] and found["0"] and found["1"]
    assert found["all"].loss == pytest.approx((found["0"].loss + found["1"].loss) / 2)


def test_targets_that_are_no_classes_are_refused() -> None:
    data = TensorData(torch.ones(4, 2), torch.ones(4))
    task = Task(nn.Linear(2, 1), data, objective=lambda model, batch: model(batch[0]).mean(), name="numbers")
    with pytest.raises(TaskError, match=r"the data of 'numbers' are not batches of \(inputs, integer targets\)"):
        scores_by_class(Workspace(task, Compute("cpu")), data, {"all": [0]})
