"""Two processes that train one network, whole in each or in shards (FSDP2): the step, the weights, the folder."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from resnest.torch import ResNeSt, get_weights, load_weights
from resnest.weights.seeded import draw_weights
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.specs import tiny

SPEC = tiny(stage_depths=(1, 1, 1, 1))
STEPS, RATE = 2, 0.05


def start():
    return Backend("torch").build(SPEC, dtype="float64").train()


def batch(step, part):
    generator = torch.Generator().manual_seed(10 * step + part)
    return torch.randn((3, 3, 49, 65), generator=generator, dtype=torch.float64), torch.tensor([part, 3, step])


def loss_of(model, step, part):
    images, targets = batch(step, part)
    return F.cross_entropy(model(images), targets)


def whole(rank):
    """What a process has after its steps on its own images, with the other's network beside it."""
    model = start()
    forward = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss_of(forward, step, rank).backward()
        optimizer.step()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"weights": get_weights(forward), "gradients": gradients}


def step_with_momentum(model):
    """One step on images that all processes have, so that the mean of their gradients is the gradient."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    images, targets = batch(0, 0)
    logits = model(images)
    F.cross_entropy(logits, targets).backward()
    optimizer.step()
    return logits.detach()


def sharded(rank, folder):
    """What a process has of a network in shards, and what it is given where it asks for all of it."""
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    model = start()
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4, model):
        fully_shard(stage, mesh=mesh)
    left = {"logits": step_with_momentum(model), "weights": get_weights(model)}
    model.save_pretrained(f"{folder}/saved-{rank}")
    load_weights(model, {name: 2 * array for name, array in draw_weights(SPEC).items()})
    shares = [parameter.to_local().numel() for parameter in model.parameters()]
    deployed = get_weights(model.deploy())
    return {**left, "loaded": get_weights(model), "share": sum(shares), "deployed": deployed}


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({"whole": whole(rank), "sharded": sharded(rank, folder)}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


WORK = "import sys; from tests.torch.test_distributed import work; work(int(sys.argv[1]), sys.argv[2])"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """In it each process leaves what it has."""
    folder = tmp_path_factory.mktemp("together")
    runs = [subprocess.Popen([sys.executable, "-c", WORK, str(rank), str(folder)]) for rank in range(2)]
    assert [run.wait(300) for run in runs] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def both(folder):
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def alone():
    """One process that takes the mean of both parts' gradients; its running statistics are those of the first part."""
    model = start()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        (loss_of(model, step, 0) / 2).backward()
        seen = {name: buffer.clone() for name, buffer in model.named_buffers()}
        (loss_of(model, step, 1) / 2).backward()
        optimizer.step()
        for name, buffer in model.named_buffers():
            buffer.copy_(seen[name])
    return model


def test_two_processes_take_the_steps_of_one(both):
    model = alone()
    for result in both:
        gradients = result["whole"]["gradients"]
        assert gradients.keys() == dict(model.named_parameters()).keys()
        for name, parameter in model.named_parameters():
            # Of the bias before a batch norm the gradient is rounding alone: there is no digit to compare.
            if not name.endswith("fc1.bias"):
                assert relative(gradients[name].numpy(), parameter.grad.numpy()) < 1e-10, name


def test_both_processes_hold_the_weights_of_one(both):
    expected = get_weights(alone())
    for name, array in expected.items():
        first, second = (result["whole"]["weights"][name] for result in both)
        assert relative(first, array) < 1e-10, name
        if "running" not in name:
            assert (first == second).all(), name


@pytest.fixture(scope="module")
def unsharded():
    model = start()
    logits = step_with_momentum(model)
    return model, logits


def test_the_step_of_a_sharded_network_is_that_of_the_whole_one(both, unsharded):
    model, logits = unsharded
    expected = get_weights(model)
    for found in (result["sharded"] for result in both):
        assert relative(found["logits"].numpy(), logits.numpy()) < 1e-10
        assert list(found["weights"]) == list(expected)
        for name, array in expected.items():
            assert found["weights"][name].dtype == np.float64
            assert relative(found["weights"][name], array) < 1e-10, name


def test_weights_are_loaded_into_shards_and_deployed_from_them(both):
    doubled = {name: 2 * array for name, array in draw_weights(SPEC).items()}
    model = start()
    load_weights(model, doubled)
    deployed = get_weights(model.deploy())
    for found in (result["sharded"] for result in both):
        assert all((found["loaded"][name] == array).all() for name, array in doubled.items())
        assert found["deployed"].keys() == deployed.keys()
        assert all((found["deployed"][name] == array).all() for name, array in deployed.items())


def test_each_process_holds_a_part(both, unsharded):
    count = sum(parameter.numel() for parameter in unsharded[0].parameters())
    shares = [result["sharded"]["share"] for result in both]
    assert sum(shares) == count
    assert max(shares) < 0.6 * count


def test_a_folder_that_a_sharded_network_saved_opens(folder, unsharded):
    expected = get_weights(unsharded[0])
    for rank in range(2):
        model = ResNeSt.from_pretrained(folder / f"saved-{rank}")
        assert model.spec == SPEC
        found = get_weights(model)
        assert all(relative(found[name], array) < 1e-6 for name, array in expected.items())
