"""Gradient checkpointing: the same step of training in less memory."""

import copy

import torch

from resnest.torch import ResNeSt, load_weights, resnest50
from resnest.torch.layers.stage import COMPILED_STATISTICS_ONCE
from resnest.weights.seeded import draw_weights
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny, tiny_segmenter

SPEC = tiny(stage_depths=(2, 2, 1, 1))


def build(**options):
    model = ResNeSt(SPEC, **options)
    load_weights(model, draw_weights(SPEC))
    return model.double().train()


def step(model, times=1):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    loss = model(x).square().mean()
    for left in reversed(range(times)):
        loss.backward(retain_graph=left > 0)
    return x.grad


def test_the_step_and_the_running_statistics_are_the_same():
    plain = build(dropblock_prob=0.2, drop_path_prob=0.2)
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    assert torch.equal(step(saving), step(plain))
    for (name, a), b in zip(saving.named_parameters(), plain.parameters()):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(saving.named_buffers(), plain.buffers()):
        assert torch.equal(a, b), name


def test_going_back_twice_is_the_same():
    plain, saving = build(), build()
    saving.set_grad_checkpointing()
    assert torch.equal(step(saving, times=2), step(plain, times=2))


def kept_bytes(model, x):
    """What the graph of one step holds on to beside the weights."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return sum(storage.nbytes() for key, storage in kept.items() if key not in weights)


def test_less_is_kept_and_it_can_be_switched_off():
    model, x = build(), torch.zeros(4, 3, 64, 64, dtype=torch.float64)
    before = kept_bytes(model, x)
    model.set_grad_checkpointing()
    assert kept_bytes(model, x) < 0.6 * before
    model.set_grad_checkpointing(False)
    assert kept_bytes(model, x) == before


def test_the_page_says_how_much_is_kept():
    with torch.device("meta"):  # sizes without numbers
        model, x = resnest50().train(), torch.empty(2, 3, 224, 224)
    plain = kept_bytes(model, x)
    model.set_grad_checkpointing()
    megabytes = [f"{count / 2e6:.0f} MB" for count in (kept_bytes(model, x), plain)]
    page = (REPOSITORY / "docs" / "python.md").read_text()
    assert f"{megabytes[0]} an image instead of {megabytes[1]}" in page


def test_compiled_the_step_and_the_running_statistics_are_the_same_too():
    plain = build().layer2
    saving = copy.deepcopy(plain)
    saving.grad_checkpointing = True
    x = torch.randn(4, 256, 8, 8, dtype=torch.float64)
    for stage in (plain, torch.compile(saving, backend="aot_eager", fullgraph=COMPILED_STATISTICS_ONCE)):
        stage(x.requires_grad_()).square().mean().backward()
    for (name, a), b in zip(saving.named_parameters(), plain.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)
    for (name, a), b in zip(saving.named_buffers(), plain.buffers()):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=name)


def test_prediction_and_scripting_do_not_see_it():
    model = build().eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = model(x)
    model.set_grad_checkpointing()
    assert torch.equal(model(x), expected)
    assert torch.equal(torch.jit.script(model)(x), expected)


def test_a_segmenters_backbone_has_it_too():
    from resnest.torch import Segmenter

    model = Segmenter(tiny_segmenter()).double().train()
    model.backbone.set_grad_checkpointing()
    logits, auxiliary = model(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    (logits.mean() + auxiliary.mean()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
