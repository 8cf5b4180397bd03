import torch

from resnest import get_spec
from resnest import weights as weight_files
from resnest.weights.formats import files
from resnest.weights.names.segmentation import get_dialect
from resnest.weights.seeded import make_input, make_weight
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.specs import tiny_segmenter


def test_sssegmentations_aspp_joins_the_mean_last(tmp_path):
    """Its DeepLabV3 head spelled out from its own names, on the stage 4 that our backbone gives."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, interpolate

    spec = tiny_segmenter("aspp", pooled_first=False)
    names = get_dialect("sssegmentation", spec).from_canonical(spec)
    theirs = {names[name]: make_weight(names[name], shape) for name, shape in spec.tensors().items()}
    files.write_file(tmp_path / "theirs.npz", theirs)
    w = {name: torch.from_numpy(array).double() for name, array in theirs.items()}

    def unit(x, conv, norm, dilation=1):
        weight = w[f"{conv}.weight"]
        x = conv2d(x, weight, padding=dilation * (weight.shape[2] // 2), dilation=dilation)
        statistics = [w[f"{norm}.{tensor}"] for tensor in ("running_mean", "running_var", "weight", "bias")]
        return batch_norm(x, *statistics).relu()

    backend = Backend("torch")
    model = backend.build(spec, weight_files.load(tmp_path / "theirs.npz"), "float64")
    images = backend.array(make_input((1, 3, 65, 97)).astype("float64"))
    with torch.no_grad():
        x = model.backbone(images)[-1]
        branches = "aspp_net.parallel_branches"
        seen = [
            unit(x, f"{branches}.{i}.0", f"{branches}.{i}.1", dilation) for i, dilation in enumerate((1, 12, 24, 36))
        ]
        mean = unit(adaptive_avg_pool2d(x, 1), "aspp_net.global_branch.1", "aspp_net.global_branch.2")
        joined = torch.cat([*seen, interpolate(mean, size=x.shape[2:], mode="bilinear")], dim=1)
        joined = unit(joined, "aspp_net.bottleneck.0", "aspp_net.bottleneck.1")
        logits = conv2d(joined, w["decoder.1.weight"], w["decoder.1.bias"])
        assert relative(model(images).numpy(), logits.numpy()) < 1e-13


def test_predicting_leaves_every_module_in_its_own_mode():
    import resnest.torch

    small = {"backbone": get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0)}
    model = resnest.torch.create_segmenter("fcn_resnest101_voc", **small).train()
    model.backbone.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    model.predict(torch.zeros(1, 3, 65, 65))
    assert {name: module.training for name, module in model.named_modules()} == modes
