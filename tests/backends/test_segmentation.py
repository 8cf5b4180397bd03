"""The segmentation networks: tensors and logits of the two toolboxes, and the same in both backends."""

import dataclasses
import json

import numpy as np
import pytest

from resnest import get_segmentation_spec, get_spec
from resnest import weights as weight_files
from resnest.backends import registry
from resnest.specs.segmentation.network import HEADS
from resnest.weights.seeded import draw_weights, make_input, make_weight
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.paths import FIXTURES
from tests.support.specs import TINY_BACKBONE, tiny_segmenter
from tests.support.toolboxes import toolbox_tensors

GOLDEN = sorted(FIXTURES.glob("*seg_*.npz"))


@pytest.fixture(scope="module", params=GOLDEN, ids=lambda path: path.stem)
def checkpoint(request, tmp_path_factory):
    """A checkpoint in the toolbox's own names, and what the toolbox computes with it."""
    golden = np.load(request.param)
    meta = json.loads(str(golden["meta"]))
    shapes = toolbox_tensors(request.param.name.partition("_")[0], meta["head"])
    path = tmp_path_factory.mktemp("checkpoint") / "toolbox.npz"
    np.savez(path, **{name: make_weight(name, shape) for name, shape in shapes.items()})
    return path, meta, golden


def test_a_toolboxs_checkpoint_gives_the_toolboxs_logits(backend, checkpoint):
    path, meta, golden = checkpoint
    model = backend.module.create_segmenter(meta["model"], weights=path)
    for dtype, bound in (("float32", 5e-6), ("float64", 1e-12)):
        model = backend.cast(model, dtype)
        x = backend.array(make_input(tuple(meta["input_shape"])).astype(dtype))
        logits = backend.numpy(model(x))
        assert list(logits.shape) == meta["decode_shape"]
        assert relative(logits[0, :16], golden["logits"]) < bound
        if "auxiliary" in golden:
            auxiliary = backend.numpy(model.auxiliary_head(model.backbone(x)[:3]))
            assert relative(auxiliary[0, :8], golden["auxiliary"]) < bound


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooled_first", [True, False])
def test_both_backends_compute_the_same(head, pooled_first):
    spec = tiny_segmenter(head, pooled_first=pooled_first, joins_input=pooled_first)
    x = make_input((2, 3, 65, 49)).astype("float64")
    results = []
    for name in ("torch", "gluon"):
        backend = Backend(name)
        model = backend.build(spec, dtype="float64")
        results.append([backend.numpy(model(backend.array(x))), backend.numpy(model.predict(backend.array(x)))])
    (logits, predicted), (gluon_logits, gluon_predicted) = results
    assert relative(gluon_logits, logits) < 1e-13
    assert relative(gluon_predicted, predicted) < 1e-13
    assert predicted.shape == (2, 5, 65, 49)


def test_training_gives_the_auxiliary_logits_too_and_prediction_does_not(backend):
    model = backend.build(tiny_segmenter("psp"), dtype="float64")
    x = make_input((2, 3, 33, 41)).astype("float64")
    logits, auxiliary = backend.train(model, x)
    assert logits.shape == auxiliary.shape == (2, 5, 5, 6)
    assert model.predict(backend.array(x)).shape == (2, 5, 33, 41)


@pytest.mark.gluon
def test_bilinear_weights_are_exact():
    from resnest.gluon._mxnet import mx
    from resnest.gluon.networks.segmentation import resize_like as gluon_resize
    from resnest.torch.networks.segmentation import resize_like

    x = make_input((2, 3, 7, 5)).astype("float64")
    for size in ((1, 1), (13, 9), (3, 20), (64, 2)):
        like = np.zeros((1, 1, *size))
        ours = gluon_resize(mx.nd.array(x, dtype="float64"), mx.nd.array(like)).asnumpy()
        assert relative(ours, resize_like(Backend("torch").array(x), Backend("torch").array(like)).numpy()) < 1e-14


def test_a_published_networks_name_builds_it_through_create_model(backend):
    package = backend.module
    model = package.create_model("fcn_resnest101_voc", backbone=TINY_BACKBONE, channels=8, num_classes=3)
    assert model.spec == dataclasses.replace(
        get_segmentation_spec("fcn_resnest101_voc"), backbone=TINY_BACKBONE, channels=8, num_classes=3
    )
    with pytest.raises(TypeError, match="takes no argument 'features_only'"):
        package.create_model("fcn_resnest101_voc", features_only=True)


def test_weights_come_back_as_they_were_loaded(backend):
    weights = draw_weights(tiny_segmenter("aspp_sep"))
    back = backend.module.get_weights(backend.build(tiny_segmenter("aspp_sep"), dtype="float32"))
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_weights_of_another_network_are_one_sentence(backend):
    spec = tiny_segmenter()
    with pytest.raises(ValueError, match="weights tell 7 classes apart and tiny 5: build it with num_classes=7"):
        backend.build(spec, draw_weights(dataclasses.replace(spec, num_classes=7)))
    classifier = get_spec("resnest14", bottleneck_width=8, stem_width=8)
    with pytest.raises(ValueError, match="are a classification network's, and tiny is a segmentation network"):
        backend.build(spec, draw_weights(classifier))
    with pytest.raises(ValueError, match=r"not those of tiny; .*decode_head.psp_modules"):
        backend.build(spec, draw_weights(tiny_segmenter("psp")))


def test_a_classifier_takes_the_backbone_of_a_segmentation_checkpoint(backend, tmp_path):
    spec = tiny_segmenter("psp")
    weight_files.save(draw_weights(spec), tmp_path / "a.npz")
    package = backend.module
    fields = {"bottleneck_width": 8, "stem_width": 8, "weights": tmp_path / "a.npz"}
    for model in (
        package.create_model("resnest14", features_only=True, **fields),
        package.create_model("resnest14", num_classes=3, **fields),
    ):
        loaded = backend.module.get_weights(model)
        assert np.array_equal(loaded["bn1.weight"], draw_weights(spec)["backbone.stem.7.weight"])


def test_a_network_without_an_auxiliary_head_takes_weights_with_one(backend):
    spec = tiny_segmenter(auxiliary_channels=0)
    model = backend.build(spec, draw_weights(tiny_segmenter()), "float64")
    assert list(backend.module.get_weights(model)) == list(spec.tensors())
    x = make_input((2, 3, 33, 41)).astype("float64")
    assert backend.train(model, x).shape == (2, 5, 5, 6)


@pytest.mark.parametrize("head", HEADS)
def test_whole_channels_are_dropped_before_the_classifier_and_in_training_alone(backend, head):
    """Where all but one in ten are dropped, a classifier of zeros and no bias sees almost nothing."""
    x = make_input((2, 3, 65, 65)).astype("float64")
    model = backend.build(tiny_segmenter(head, channels=64, dropout=0.9), dtype="float64")
    first, second = (backend.train(model, x)[0] for _ in range(2))
    assert relative(first, second) > 0.1
    assert relative(backend.predict(model, x), backend.predict(model, x)) == 0
    still = backend.build(tiny_segmenter(head, channels=64).without_dropout(), dtype="float64")
    assert relative(*(backend.train(still, x)[0] for _ in range(2))) == 0
    dropped = backend.train(model.decode_head.dropout, np.ones((20, 100, 3, 3)))
    assert np.all(dropped == dropped[:, :, :1, :1])
    assert dropped.max() == pytest.approx(10)
    assert (dropped == 0).mean() == pytest.approx(0.9, abs=0.05)


def test_the_auxiliary_logits_count_two_fifths(backend):
    spec = tiny_segmenter().without_dropout()
    x, labels = make_input((2, 3, 33, 41)).astype("float64"), np.array([1, 4])
    losses = []
    for logits in backend.train(backend.build(spec, dtype="float64"), x):
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log([shares[image, label] for image, label in enumerate(labels)]).mean())
    loss, gradients, _ = backend.probe.run_training_step(spec, draw_weights(spec), x, labels)
    assert loss == pytest.approx(losses[0] + 0.4 * losses[1], rel=1e-9)
    assert gradients["auxiliary_head.conv_seg.weight"].any()


def test_predicting_in_the_midst_of_training_is_no_training(backend):
    """Nothing is dropped and no statistics move, whether a step is being recorded or not."""
    model = backend.build(tiny_segmenter(dropout=0.9), dtype="float64")
    x = backend.array(make_input((2, 3, 33, 41)).astype("float64"))
    expected, before = backend.numpy(model.predict(x)), backend.module.get_weights(model)
    during = backend.numpy(backend.face.in_training(model, lambda: model.predict(x)))
    assert relative(during, expected) == 0
    after = backend.module.get_weights(model)
    assert all(np.array_equal(after[name], array) for name, array in before.items())
    assert len(backend.train(model, backend.numpy(x))) == 2  # and training goes on


@pytest.mark.parametrize("head", HEADS)
def test_a_deployed_segmenter_predicts_what_the_model_does(backend, head, tmp_path):
    model = backend.build(tiny_segmenter(head), dtype="float64")
    deployed = model.deploy()
    assert deployed.spec == model.spec.in_form(deploy=True)
    folded = backend.module.get_weights(deployed)
    assert {name: array.shape for name, array in folded.items()} == deployed.spec.tensors()
    assert not [name for name in folded if ".bn" in name or "running" in name]
    assert weight_files.recognise({name: array.shape for name, array in folded.items()}).deploy
    x = make_input((2, 3, 65, 49)).astype("float64")
    assert relative(backend.predict(deployed, x), backend.predict(model, x)) < 1e-12
    assert relative(*(backend.numpy(one.predict(backend.array(x))) for one in (deployed, model))) < 1e-12


def test_a_folded_published_segmenter_is_recognised_as_itself():
    spec = get_segmentation_spec("deeplabv3_resnest101_voc", deploy=True)
    assert weight_files.recognise(spec.tensors()) == spec


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize("deploy", [False, True])
def test_what_one_backend_saved_opens_in_every_one(backend, deploy, tmp_path):
    spec = tiny_segmenter("aspp_sep", deploy=deploy)
    model = backend.build(spec, draw_weights(tiny_segmenter("aspp_sep")))
    model.save_pretrained(tmp_path)
    assert "A segmentation network on ResNeSt" in (tmp_path / "README.md").read_text()
    saved = backend.module.get_weights(model)
    for other in map(Backend, registry.BACKENDS):
        opened = other.module.Segmenter.from_pretrained(tmp_path, dropout=0.5)
        assert opened.spec == dataclasses.replace(spec, dropout=0.5)
        weights = other.module.get_weights(opened)
        assert all(np.array_equal(weights[name], array) for name, array in saved.items())
