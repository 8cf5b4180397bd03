"""A network in shards on two processes (FSDP2): the step, the weights and the folder of one that is whole."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributed
from torch.distributed.fsdp import fully_shard

from resnest.torch import ResNeSt, get_weights, load_weights
from resnest.weights.seeded import draw_weights
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.specs import tiny

SPEC = tiny(stage_depths=(1, 1, 1, 1))
IMAGES = torch.randn((4, 3, 49, 65), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 3, 1, 2])

WORK = "import sys; from tests.torch.test_sharded import work; work(int(sys.argv[1]), sys.argv[2])"


def step(model):
    """One step on images that all processes have, so that the mean of their gradients is the gradient."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    logits = model(IMAGES)
    F.cross_entropy(logits, TARGETS).backward()
    optimizer.step()
    return logits.detach()


def sharded(model, mesh):
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4, model):
        fully_shard(stage, mesh=mesh)
    return model


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    model = sharded(Backend("torch").build(SPEC, dtype="float64").train(), mesh)
    logits = step(model)
    weights = get_weights(model)
    model.save_pretrained(f"{folder}/saved-{rank}")
    load_weights(model, {name: 2 * array for name, array in draw_weights(SPEC).items()})
    loaded = get_weights(model)
    shares = [parameter.to_local().numel() for parameter in model.parameters()]
    left = {"logits": logits, "weights": weights, "loaded": loaded, "share": sum(shares)}
    torch.save(left, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder in which two processes leave what they have after a step."""
    folder = tmp_path_factory.mktemp("sharded")
    runs = [subprocess.Popen([sys.executable, "-c", WORK, str(rank), str(folder)]) for rank in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def alone():
    model = Backend("torch").build(SPEC, dtype="float64").train()
    logits = step(model)
    return model, logits


def test_the_step_of_a_sharded_network_is_that_of_the_whole_one(together, alone):
    model, logits = alone
    expected = get_weights(model)
    for rank in range(2):
        found = torch.load(together / f"{rank}.pt", weights_only=False)
        assert relative(found["logits"].numpy(), logits.numpy()) < 1e-10
        assert list(found["weights"]) == list(expected)
        for name, array in expected.items():
            assert found["weights"][name].dtype == np.float64
            assert relative(found["weights"][name], array) < 1e-10, name


def test_weights_are_loaded_into_shards(together):
    for rank in range(2):
        loaded = torch.load(together / f"{rank}.pt", weights_only=False)["loaded"]
        assert all((loaded[name] == 2 * array).all() for name, array in draw_weights(SPEC).items())


def test_each_process_holds_a_part(together, alone):
    count = sum(parameter.numel() for parameter in alone[0].parameters())
    shares = [torch.load(together / f"{rank}.pt", weights_only=False)["share"] for rank in range(2)]
    assert sum(shares) == count
    assert max(shares) < 0.6 * count


def test_a_folder_that_a_sharded_network_saved_opens(together, alone):
    expected = get_weights(alone[0])
    for rank in range(2):
        model = ResNeSt.from_pretrained(together / f"saved-{rank}")
        assert model.spec == SPEC
        found = get_weights(model)
        assert all(relative(found[name], array) < 1e-6 for name, array in expected.items())
