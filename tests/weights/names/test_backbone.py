"""Every dialect names every tensor, once, and reads its own names back."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner

from resnest import weights
from resnest.cli import main
from resnest.specs.published import ALIASES, VARIANTS, get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.torch import create_model
from resnest.torch.networks.resnest import ResNeSt
from resnest.torch.weights import load_weights
from resnest.weights.formats import files
from resnest.weights.names import backbone as naming
from resnest.weights.names.backbone import DIALECTS, detect_dialect, get_dialect
from resnest.weights.seeded import draw_weights
from tests.support.paths import FIXTURES

TINY = ResNeStSpec("tiny", (1, 2, 1, 1), bottleneck_width=4, stem_width=4, num_classes=3)


def write_pth(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_names_map_one_to_one_in_both_directions(variant, dialect):
    for output_stride in (32, 16, 8):
        spec = get_spec(variant, output_stride=output_stride)
        theirs = get_dialect(dialect).from_canonical(spec)
        assert list(theirs) == list(spec.tensors())
        assert len(set(theirs.values())) == len(theirs)
        assert detect_dialect(theirs.values()).name == dialect
        assert get_dialect(dialect).to_canonical(theirs.values()) == {name: ours for ours, name in theirs.items()}


# One row a dialect: the names that its own documentation or code gives a few tensors.
KNOWN = {
    "gluon": ("conv1.1.running_var", "layer2.0.conv2.bn.gamma", "layer2.0.downsample.2.beta", "fc.weight"),
    "symbol": (
        "aux:resnest0_batchnorm0_running_var",
        "arg:resnest0_layer2_0_splitattention0_batchnorm0_gamma",
        "arg:resnest0_layer2_0_batchnorm2_beta",
        "arg:resnest0_dense0_weight",
    ),
    "gluoncv_symbol": (
        "aux:resnest_batchnorm0_running_var",
        "arg:resnest_layers2_batchnorm1_gamma",
        "arg:resnest_down2_batchnorm0_beta",
        "arg:resnest_dense0_weight",
    ),
    "detectron2": (
        "stem.conv1_1.norm.running_var",
        "res3.0.conv2.bn0.weight",
        "res3.0.shortcut.norm.bias",
        "linear.weight",
    ),
    "mmpretrain": (
        "backbone.stem.0.bn.running_var",
        "backbone.layer2.0.conv2.bn0.weight",
        "backbone.layer2.0.downsample.2.bias",
        "head.fc.weight",
    ),
    "sssegmentation": (
        "backbone_net.stem.1.running_var",
        "backbone_net.layer2.0.conv2.bn0.weight",
        "backbone_net.layer2.0.downsample.2.bias",
        "backbone_net.fc.weight",
    ),
    "openmmlab": (
        "backbone.stem.1.running_var",
        "backbone.layer2.0.conv2.bn0.weight",
        "backbone.layer2.0.downsample.2.bias",
        "head.fc.weight",
    ),
    "smp_timm": (
        "encoder.model.conv1.1.running_var",
        "encoder.model.layer2.0.conv2.bn0.weight",
        "encoder.model.layer2.0.downsample.2.bias",
        "encoder.model.fc.weight",
    ),
    "smp": (
        "encoder.conv1.1.running_var",
        "encoder.layer2.0.conv2.bn0.weight",
        "encoder.layer2.0.downsample.2.bias",
        "encoder.fc.weight",
    ),
    "torch": ("conv1.1.running_var", "layer2.0.conv2.bn0.weight", "layer2.0.downsample.2.bias", "fc.weight"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_says_what_its_library_says(dialect):
    names = get_dialect(dialect).from_canonical(get_spec("resnest50"))
    ours = ("conv1.1.running_var", "layer2.0.conv2.bn0.weight", "layer2.0.downsample.2.bias", "fc.weight")
    assert tuple(names[name] for name in ours) == KNOWN[dialect]


@pytest.mark.parametrize("name", ALIASES)
def test_timm_names_and_orders_its_tensors_as_the_authors_do(name):
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert list(shapes.items()) == list(get_spec(name).tensors().items())
    assert get_dialect("timm") is DIALECTS["torch"]


def test_what_timm_saves_gives_the_logits_that_timm_gives(tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model("resnest14d", num_classes=7).double().eval()
    for name, tensor in theirs.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = weights.load(tmp_path / "model.safetensors")
    ours = create_model("resnest14", num_classes=7, weights=loaded).double().eval()
    load_weights(ours, loaded)  # once more, in the precision that they have
    image = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(image)
        assert (ours(image) - expected).abs().max() <= 1e-13 * expected.abs().max()


@pytest.mark.parametrize("dialect", [*DIALECTS, *naming.ALIASES])
def test_the_command_writes_every_dialect(tmp_path, dialect):
    weights.save(draw_weights(TINY), tmp_path / "a.npz")
    arguments = ["convert", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--dialect", dialect]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    assert weights.dialect_of(tmp_path / "b.npz") == get_dialect(dialect).name


@pytest.mark.parametrize(
    ("file", "dialect", "variant", "heads"),
    [
        ("mmdet_faster_rcnn", "openmmlab", "resnest50", 48),
        ("mmseg_fcn", "openmmlab", "resnest101", 24),
        ("ssseg_fcn", "sssegmentation", "resnest101", 19),
    ],
)
def test_a_detectors_or_segmenters_backbone_is_complete(file, dialect, variant, heads):
    """The names and shapes are those that the toolbox's own networks have."""
    theirs = json.loads((FIXTURES / f"{file}_tensors.json").read_text())
    found = detect_dialect(theirs)
    canonical = found.to_canonical(theirs)
    shapes = {ours: tuple(theirs[name]) for name, ours in canonical.items()}
    assert found.name == dialect
    assert shapes == get_spec(variant, num_classes=0).tensors()
    assert len(theirs) - len(canonical) == heads
    written = found.from_canonical(get_spec(variant, num_classes=0, output_stride=8))
    assert set(written.values()) == set(canonical)


def test_mmpretrain_counts_no_pooling_in_a_shortcut_that_does_not_stride():
    spec = get_spec("resnest50", output_stride=16)
    names = get_dialect("mmpretrain").from_canonical(spec)
    first = [names[f"layer{stage}.0.downsample.1.weight"] for stage in (1, 2, 3, 4)]
    assert [name.removeprefix("backbone.") for name in first] == [
        "layer1.0.downsample.0.weight",
        "layer2.0.downsample.1.weight",
        "layer3.0.downsample.1.weight",
        "layer4.0.downsample.0.weight",
    ]


@pytest.mark.parametrize("dialect", ["openmmlab", "mmpretrain", "sssegmentation", "smp", "detectron2"])
def test_the_backbone_is_read_with_and_without_its_prefix_and_through_wrappers(tmp_path, dialect):
    spec = dataclasses.replace(TINY, num_classes=0)
    arrays, names = draw_weights(spec), get_dialect(dialect).from_canonical(spec)
    prefix = get_dialect(dialect).prefix
    state = {name.removeprefix(prefix): torch.from_numpy(arrays[ours]) for ours, name in names.items()}
    for before in ("", prefix, "module.", f"module.{prefix}", f"student.model.{prefix}", "backbone.bottom_up."):
        named = {before + name: tensor for name, tensor in state.items()}
        loaded = weights.load(write_pth(tmp_path / "file.pth", named))
        assert all(np.array_equal(loaded[name], arrays[name]) for name in spec.tensors()), before


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state},
        lambda state: {"model": {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}},
        lambda state: {"epoch": 3, "state_dict": {"x": torch.ones(1)}, "state_dict_ema": state},
        lambda state: {"model": {"x": torch.ones(1)}, "model_ema": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_ema": None, "model": state},
        lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()},
    ],
)
def test_wrappers_come_off_and_averaged_weights_go_first(tmp_path, wrap):
    arrays = draw_weights(TINY)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    loaded = weights.load(write_pth(tmp_path / "file.pth", wrap(state)))
    assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())


def test_heads_behind_another_prefix_are_left_out_loudly(tmp_path, caplog):
    spec = dataclasses.replace(TINY, num_classes=0)
    names, arrays = get_dialect("openmmlab").from_canonical(spec), draw_weights(spec)
    state = {name: torch.from_numpy(arrays[ours]) for ours, name in names.items()}
    state |= {"decode_head.conv_seg.weight": torch.ones(2), "auxiliary_head.conv_seg.weight": torch.ones(2)}
    path = write_pth(tmp_path / "segmenter.pth", {"meta": {"epoch": 1}, "state_dict": state})
    assert list(weights.load(path)) == list(spec.tensors())
    assert "left out 2 tensors" in caplog.text
    assert "decode_head, auxiliary_head" in caplog.text


def test_heads_may_stand_before_the_backbone_and_in_it():
    names = [f"backbone.{name}" for name in get_dialect("torch").from_canonical(TINY).values()]
    heads = ["decode_head.conv_seg.weight", "auxiliary_head.conv_seg.weight"]
    expected = get_dialect("torch").to_canonical(names)
    assert list(expected.values()) == list(TINY.tensors())
    assert get_dialect("torch").to_canonical([heads[0], *names[:9], heads[1], *names[9:]]) == expected


def test_heads_beside_the_backbone_are_left_out_when_asked(tmp_path):
    arrays = draw_weights(TINY)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()} | {"head.block.weight": torch.ones(2)}
    path = write_pth(tmp_path / "segmenter.pth", state)
    with pytest.raises(ValueError, match=r"unknown: head\.block\.weight"):
        weights.load(path)
    loaded = weights.load(path, backbone=True)
    assert list(loaded) == list(dataclasses.replace(TINY, num_classes=0).tensors())
    assert weights.convert(path, tmp_path / "backbone.npz", backbone=True).num_classes == 0


def test_two_networks_in_one_file_are_refused():
    names = list(get_dialect("torch").from_canonical(TINY).values())
    both = [f"{who}.{name}" for who in ("teacher", "student") for name in names]
    with pytest.raises(ValueError, match=r"more than one network, behind the prefixes 'student\.' and 'teacher\.'"):
        detect_dialect(both).to_canonical(both)


@pytest.mark.parametrize("form", [{"avg_down": False}, {"deep_stem": False}, {"deep_stem": False, "avg_down": False}])
@pytest.mark.parametrize("dialect", ["torch", "gluon"])
def test_the_authors_names_are_there_for_every_form(dialect, form):
    spec = dataclasses.replace(TINY, **form)
    names = get_dialect(dialect).from_canonical(spec)
    assert list(names) == list(spec.tensors())
    assert get_dialect(dialect).to_canonical(names.values()) == {theirs: ours for ours, theirs in names.items()}


def test_two_names_for_one_tensor_are_refused():
    names = [*get_dialect("gluon").from_canonical(TINY).values(), "bn1.moving_mean"]
    with pytest.raises(ValueError, match=r"are the same tensor, bn1\.running_mean"):
        get_dialect("gluon").to_canonical(names)


def test_unknown_dialects_and_names_are_said_in_a_sentence():
    with pytest.raises(ValueError, match="there is no dialect 'tf'; known are gluon, symbol"):
        get_dialect("tf")
    with pytest.raises(ValueError, match=r"its 2 tensors \(a, b\) are no ResNeSt's"):
        detect_dialect(["a", "b"])
    with pytest.raises(ValueError, match="detectron2 has names only for networks with deep_stem"):
        get_dialect("detectron2").from_canonical(dataclasses.replace(TINY, deep_stem=False))


def test_symbol_files_may_say_moving_and_leave_out_what_stands_in_front():
    for dialect in ("symbol", "gluoncv_symbol", "gluon"):
        theirs = get_dialect(dialect).from_canonical(TINY)
        for change in (lambda name: name.replace("running_", "moving_"), lambda name: name[4:]):
            if dialect == "gluon":
                prefix = {name: "aux:" if "running_" in name else "arg:" for name in theirs.values()}
                names = {ours: prefix[name] + name.replace("running_", "moving_") for ours, name in theirs.items()}
            else:
                names = {ours: change(name) for ours, name in theirs.items()}
            found = detect_dialect(names.values())
            assert found.name == dialect
            assert found.to_canonical(names.values()) == {name: ours for ours, name in names.items()}


# MXNet runs in a process of its own: GluonCV refuses to be imported where PyTorch 2 can be.
EXPORT = """
    import sys
    from tests.support.without import shut_out
    shut_out("torch")
    from resnest.gluon._mxnet import mx
    from resnest import weights
    folder, kind = sys.argv[1:]
    mx.random.seed(0)
    if kind == "gluoncv_symbol":
        from gluoncv.model_zoo.resnest import ResNeSt, Bottleneck
        net = ResNeSt(Bottleneck, [1, 2, 1, 1], classes=3, bottleneck_width=4, deep_stem=True, stem_width=4,
                      avg_down=True, avd=True, use_splat=True, radix=2, name_prefix="resnest_")
    else:
        from resnest.gluon.networks.resnest import ResNeSt
        from resnest.specs.resnest import ResNeStSpec
        net = ResNeSt(ResNeStSpec("tiny", (1, 2, 1, 1), bottleneck_width=4, stem_width=4, num_classes=3))
    net.initialize(mx.init.Normal(0.3))
    for name, parameter in net.collect_params().items():
        if "running" in name or "gamma" in name:
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
    net.cast("float64")
    net.hybridize()
    image = mx.nd.random.normal(shape=(1, 3, 64, 64), dtype="float64")
    logits = net(image)
    net.export(folder + "/net")
    net.save_parameters(folder + "/net.params")
    mx.nd.save(folder + "/logits.params", {"image": image, "logits": logits})
    weights.convert(folder + "/net.params", folder + "/ours.params", dialect=kind)
    assert set(mx.nd.load(folder + "/ours.params")) == set(mx.nd.load(folder + "/net-0000.params"))
    back = mx.gluon.SymbolBlock.imports(folder + "/net-symbol.json", ["data"], folder + "/ours.params")
    back.cast("float64")
    assert abs(back(image) - logits).max().asscalar() == 0
"""


@pytest.mark.gluon
@pytest.mark.parametrize("kind", ["symbol", "gluoncv_symbol"])
def test_what_mxnet_and_gluoncv_write_opens_in_pytorch_with_the_same_logits(tmp_path, kind):
    subprocess.run([sys.executable, "-c", textwrap.dedent(EXPORT), tmp_path, kind], check=True)
    assert weights.dialect_of(tmp_path / "net.params") == "gluon"
    assert weights.dialect_of(tmp_path / "net-0000.params") == kind
    structural, exported = weights.load(tmp_path / "net.params"), weights.load(tmp_path / "net-0000.params")
    assert list(structural) == list(exported)
    assert all(np.array_equal(structural[name], exported[name]) for name in structural)
    model = ResNeSt(TINY).double().eval()
    load_weights(model, exported)
    with files.open_file(tmp_path / "logits.params") as arrays, torch.no_grad():
        difference = np.abs(model(torch.from_numpy(arrays["image"])).numpy() - arrays["logits"]).max()
        assert difference <= 1e-13 * np.abs(arrays["logits"]).max()
