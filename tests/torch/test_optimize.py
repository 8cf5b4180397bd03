"""The compiled form: it takes the images that it was compiled for, and says what is wrong with others."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from resnest.torch import Detector, OptimizedDetector, OptimizedModel, ResNeSt, ResNeStFeatures, load_weights, optimize
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_detector


def compiled_for(*shape, dtype="float32", device="cpu", minimum=1):
    """What stands in for a compiled network, and the images that reached it."""
    reached = []
    return OptimizedModel(reached.append, shape, dtype, device, minimum), reached


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(2, 3, 64, 64), "for images of 1x3x64x64 and not 2x3x64x64"),
        (torch.zeros(1, 3, 32, 32), "for images of 1x3x64x64 and not 1x3x32x32: .* or with dynamic=True"),
        (torch.zeros(3, 64, 64), "for images of 1x3x64x64 and not 3x64x64"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.float64), "for float32 on cpu and not float64 on cpu"),
        (torch.zeros(1, 3, 64, 64, device="meta"), "for float32 on cpu and not float32 on meta"),
    ],
    ids=["batch", "size", "no batch", "dtype", "device"],
)
def test_other_images_never_reach_the_compiled_code(images, sentence):
    model, reached = compiled_for(1, 3, 64, 64)
    with pytest.raises(ValueError, match=sentence):
        model(images)
    assert reached == []


def test_open_sizes_take_any_but_the_channels():
    model, reached = compiled_for(None, 3, None, None, minimum=33)
    model(torch.zeros(4, 3, 33, 90))
    assert len(reached) == 1
    with pytest.raises(ValueError, match=r"for images of anyx3xanyxany and not 4x1x33x90: compile it for those$"):
        model(torch.zeros(4, 1, 33, 90))
    with pytest.raises(ValueError, match="at least 33 pixels a side"):
        model(torch.zeros(4, 3, 32, 90))


def test_compiled_it_predicts_the_same_in_the_next_process_too(tmp_path):
    """One size with the whole network, any with a part: each layer takes seconds to compile, and the headers most."""
    spec = tiny(stage_depths=(1, 1, 1, 1))
    for network, dynamic, shapes in (
        (ResNeSt(spec), False, [(1, 3, 64, 50)]),
        (ResNeStFeatures(spec, out_indices=(1,)), True, [(1, 3, 64, 64), (3, 3, 33, 90), (2, 3, 65, 47)]),
    ):
        load_weights(network, draw_weights(spec))
        network.eval()
        path = tmp_path / f"{dynamic}.pt2"
        compiled = optimize(network, torch.zeros(1, 3, 64, 50), path, dynamic=dynamic)
        for model in (compiled, OptimizedModel.load(path)):
            for shape in shapes:
                images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
                with torch.no_grad():
                    torch.testing.assert_close(model(images), network(images), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="at least 33 pixels a side"):
        model(torch.zeros(1, 3, 32, 32))


def test_the_process_s_memory_is_left_alone_unless_asked(monkeypatch):
    kept = []
    monkeypatch.setattr("resnest.torch.deploy.keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr("resnest.torch.deploy.deploy", lambda model: (_ for _ in ()).throw(RuntimeError("far enough")))
    for keep in (False, True):
        with pytest.raises(RuntimeError, match="far enough"):
            optimize(ResNeSt(tiny()), torch.zeros(1, 3, 64, 64), keep_memory=keep)
        assert kept == [True] * keep


def test_a_package_has_its_own_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"does not end with \.pt2"):
        optimize(None, torch.zeros(1, 3, 64, 64), tmp_path / "tiny.pt")


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")
def test_memory_that_a_feature_map_freed_is_kept_for_the_next():
    code = """
import resource, torch
from resnest.torch.deploy import keep_freed_memory
keep_freed_memory()
for number in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64, 2**18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(faults) < 1000  # of the 16384 pages of 64 MiB


@pytest.mark.parametrize(("dtype", "bound"), [("bfloat16", 0.03), ("float16", 0.004)])
def test_another_dtype_is_inside_alone(monkeypatch, dtype, bound):
    """What would be compiled is run as it is: the compiler takes half a minute."""
    programs = []
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx512_bf16", "avx512_fp16"])
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", lambda program, **_: programs.append(program))
    monkeypatch.setattr(OptimizedModel, "load", lambda path: None)
    model = ResNeSt(tiny()).eval()
    load_weights(model, draw_weights(tiny()))
    images = torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    optimize(model, images, dtype=dtype)
    with torch.no_grad():
        found, exact = programs[0].module()(images), model.double()(images.double())
    assert found.dtype == torch.float32
    assert 0.0002 < float((found - exact).abs().max() / exact.abs().max()) < bound
    insides = [node for node in programs[0].graph.nodes if "conv2d" in str(node.target)]
    assert {node.meta["val"].dtype for node in insides} == {getattr(torch, dtype)}


def test_a_dtype_that_the_processor_has_not_is_refused_before_the_work(monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx2"])
    with pytest.raises(ValueError, match=r"no bfloat16 instructions .* take float32"):
        optimize(ResNeSt(tiny()), torch.zeros(1, 3, 64, 64), dtype="bfloat16")


@pytest.mark.parametrize(
    ("example", "sentence"),
    [
        (torch.zeros(1, 4, 64, 64), r"a tensor of images, \(N, 3, H, W\), and this is of 1x4x64x64"),
        (torch.zeros(3, 64, 64), r"a tensor of images, \(N, 3, H, W\), and this is of 3x64x64"),
        (np.zeros((1, 3, 64, 64)), "a tensor of images, .* and this is ndarray"),
        (
            torch.zeros(1, 3, 64, 64, dtype=torch.float64),
            r"in torch\.float32 on cpu, and the example in torch\.float64 on",
        ),
        (
            torch.zeros(1, 3, 64, 64, device="meta"),
            r"in torch\.float32 on cpu, and the example in torch\.float32 on meta",
        ),
    ],
    ids=["channels", "no batch", "array", "dtype", "device"],
)
def test_an_example_that_the_network_does_not_take_is_refused_before_the_work(example, sentence):
    with pytest.raises(ValueError, match=sentence):
        optimize(ResNeSt(tiny()), example)


def test_without_a_folder_to_keep_it_in_nothing_is_compiled(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing to keep tiny\.pt2 in: make it first"):
        optimize(ResNeSt(tiny()), torch.zeros(1, 3, 64, 64), tmp_path / "missing" / "tiny.pt2")


@pytest.mark.parametrize("content", [None, b"no zip"], ids=["missing", "another file"])
def test_what_is_no_package_is_refused_by_its_path(tmp_path, content):
    path = tmp_path / "tiny.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"tiny\.pt2 is no package that resnest\.torch\.optimize wrote"):
        OptimizedModel.load(path)


@pytest.mark.usefixtures("packages")
def test_a_network_inside_of_another_is_compiled(tmp_path):
    model = ResNeSt(tiny(stage_depths=(1, 1, 1, 1))).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for wrapped in (torch.nn.DataParallel(model), torch.compile(model)):
            torch.testing.assert_close(optimize(wrapped, images)(images), model(images), rtol=1e-4, atol=1e-4)


class Package:
    """What stands in for a compiled package: the program that would be compiled, run as it is."""

    def __init__(self, program, metadata):
        self.program = program.module()
        self.get_metadata = lambda: metadata

    def __call__(self, images):
        return self.program(images)


@pytest.fixture
def packages(monkeypatch):
    kept = {}

    def package(program, package_path, inductor_configs):
        kept[package_path] = Package(program, inductor_configs["aot_inductor.metadata"])
        return package_path

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", package)
    monkeypatch.setattr("torch._inductor.aoti_load_package", kept.get)
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx512_bf16"])


def a_detector():
    spec = tiny_detector("mask_rcnn", score_threshold=0.0, scale=(160, 96))
    model = Detector(spec).eval()
    load_weights(model, draw_weights(spec))
    return model


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_detector_with_a_compiled_pyramid_finds_the_same(tmp_path, dynamic):
    model, path = a_detector(), tmp_path / "pyramid.pt2"
    images = torch.randn((1, 3, 96, 160), generator=torch.Generator().manual_seed(0))
    fast = optimize(model, images, path, dynamic=dynamic)
    again = OptimizedDetector(model, OptimizedModel.load(path))
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    others = torch.randn(2, 3, 97, 70)
    for optimized in (fast, again):
        pairs = [(model(images, [(90, 150)]), optimized(images, [(90, 150)]))]
        pairs.append((model.predict([photo]), optimized.predict([photo])))
        if dynamic:
            pairs.append((model(others), optimized(others)))
        else:
            with pytest.raises(ValueError, match="for images of 1x3x96x160 and not 2x3x97x70"):
                optimized(others)
            with pytest.raises(ValueError, match="for images of 1x3x96x160 and not 1x3x160x96"):
                optimized.predict([photo.swapaxes(0, 1)])
        for expected, found in pairs:
            for one, other in zip(expected, found, strict=True):
                assert len(one["boxes"]) > 5
                assert torch.equal(one["labels"], other["labels"])
                torch.testing.assert_close(one["boxes"], other["boxes"], rtol=1e-4, atol=1e-3)
                assert not other["scores"].requires_grad
    if dynamic:
        with pytest.raises(ValueError, match="at least 65 pixels a side"):
            fast(torch.zeros(1, 3, 64, 96))


@pytest.mark.usefixtures("packages")
def test_a_detectors_pyramid_alone_is_computed_in_another_dtype():
    model = a_detector()
    images = torch.randn((1, 3, 96, 160), generator=torch.Generator().manual_seed(0))
    fast = optimize(model, images, dtype="bfloat16")
    with torch.no_grad():
        for exact, found in zip(model.forward_pyramid(images), fast.pyramid(images), strict=True):
            assert found.dtype == torch.float32
            assert 0.0002 < float((found - exact).abs().max() / exact.abs().max()) < 0.05
    assert {weight.dtype for weight in fast.detector.parameters()} == {torch.float32}
