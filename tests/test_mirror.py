"""The two backends open side by side: the same files, classes, functions and parameters, in the same order."""

import ast
import inspect
from pathlib import Path

import pytest

import resnest
from resnest.backends import registry
from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "resnest"

ONE_ALONE = {
    "_torch.py": "what says which framework is missing has the framework's name",
    "_mxnet.py": "the same",
    "backend.convolutions_alone": "the floor of `resnest bench` is PyTorch's convolutions",
    "builders.get_model": "Gluon's model zoo calls create_model so, with its own word for num_classes",
    "layers.regions.operators": "MXNet has operators for regions itself",
    "layers.regions.cut_out": "MXNet's own RoIAlign takes all threads",
    "layers.regions.best_first": "NumPy's sort is stable as it is called",
    "layers.regions.encode": "detectors are trained in PyTorch alone",
    "networks/detection/training.py": "the same",
    "networks.detection.heads.whole": "the same",
    "training.tasks.detector_loss": "the same",
    "training.tasks.detections": "the same",
    "networks.detection.network.Detector.frozen": "the same",
    "networks.detection.network.Detector.train": "the same",
    "networks.detection.network.Detector.losses": "the same",
    "networks.detection.network.Detector.init_weights": "see init_conv2d",
    "networks.detection.network.Detector.draw_weights": "the same",
    "networks.detection.heads.RPNHead.draw_classifier": "the same",
    "networks.detection.heads.BoxHead.draw_classifier": "the same",
    "networks.detection.heads.MaskHead.draw_classifier": "the same",
    "networks.detection.heads.draw_normal": "the same",
    "networks.detection.heads.draw_uniform": "the same",
    "deploy.OptimizedModel": "what AOTInductor compiles checks no shape by itself; MXNet's graph does, and takes any",
    "deploy.OptimizedDetector": "the same",
    "deploy.Pyramid": "the same",
    "deploy.Rounded": "MXNet rewrites a graph for another dtype by itself",
    "deploy.keep_freed_memory": "MXNet keeps memory by itself",
    "layers.basic.AvgPool2d": "torch.export asks for more than its own layer gives, with sizes left open",
    "layers.basic.MaxPool2d": "the same",
    "layers.basic.init_conv2d": "Gluon draws weights when a network is initialized, not when it is built",
    "layers.basic.laid_out": "MXNet knows one memory format",
    "layers.basic.computed_here": "the same",
    "layers.basic.lying_like": "the same",
    "layers.basic.many_pixels": "the same",
    "layers.basic.reset": "Gluon's initialize(force_reinit=True) does that",
    "layers.basic.GELU": "MXNet's own has constants of float32",
    "layers.basic.sequential": "nn.Sequential takes its layers when it is built, Gluon's does not",
    "layers.drop_path.DropPath.extra_repr": "Gluon has __repr__ for it",
    "layers.dropblock.DropBlock.extra_repr": "the same",
    "layers.global_pool.AverageMaxPool.extra_repr": "the same",
    "layers.dropblock.DropBlock.reset_parameters": "Gluon's probability is no tensor that could be lost",
    "layers.splat.chunk": "PyTorch's tensors have it",
    "layers.units.AdaptiveAvgPool2D": "each framework's name, and ONNX takes PyTorch's own at one size alone",
    "layers.units.AdaptiveAvgPool2d": "the same",
    "layers.units.operators_for": "MXNet's symbols have operators of their own",
    "layers.basic.every": "torch.export asks for more than a slice gives, with sizes left open",
    "layers.regions.being_exported": "MXNet's boxes are chosen outside of a graph",
    "layers.regions.first": "the same",
    "export.AtSize": "MXNet's files have one kind of writer, PyTorch's three, and detectors too",
    "export.OneImage": "the same",
    "export.images": "the same",
    "export.image_and_size": "the same",
    "export.traced": "the same",
    "export.unwarned": "PyTorch warns of its own formats",
    "export.exported": "the same",
    "export.operators_of_detectors": "the same",
    "export.any_size": "MXNet's files do not hold all networks at all sizes, PyTorch's do",
    "export.one_size": "the same",
    "export.refused": "the same",
    "export.write_block": "MXNet writes a graph that ran, or one that was put together",
    "export.write_graph": "the same; a segmenter is no hybrid block, because it resizes",
    "weights.OnContexts": "MXNet puts weights on contexts when they are loaded; PyTorch moves a model with .to(device)",
    "weights.unwrapped": "only PyTorch puts networks into networks",
    "layers/stage.py": "MXNet saves memory by an environment variable, MXNET_BACKWARD_DO_MIRROR",
    "networks.resnest.ResNeSt.set_grad_checkpointing": "the same",
    "networks.resnest.ResNeSt.exchange": "Gluon lets no attribute change its type",
    "networks.resnest.ResNeSt.init_weights": "see init_conv2d",
    "networks.resnest.ResNeSt.draw_weights": "the same",
    "networks.segmentation.Segmenter.init_weights": "the same",
    "networks.segmentation.Segmenter.draw_weights": "the same",
    "networks.segmentation.Head.draw_classifier": "the same",
    "training.processes.Processes.wrap": "PyTorch takes the mean of gradients while it goes backward",
    "training.processes.Processes.watched": "MXNet waits for a process that is gone, until who started them sees it",
    "training.processes.Processes.average": "MXNet takes it afterwards",
    "training.update.times": "MXNet's operator with an output and an exact number is a private one",
    "networks.resnest.ResNeSt.check_input": "MXNet's poolings fail on a small image without a word",
}
"""What stands in one backend alone, and why."""

OTHER_PARAMETERS = {
    "F": "MXNet's hybrid_forward is handed its operators",
    "ctx": "MXNet puts weights on contexts when they are loaded; PyTorch moves a model with .to(device)",
    "classes": "Gluon's word for num_classes",
    "norm_kwargs": "the authors' Gluon builders take them; PyTorch's users bind them with functools.partial",
    "use_global_stats": "an option of MXNet's batch norm; PyTorch has FrozenBatchNorm2d for it",
    "split_drop_ratio": "only the authors' Gluon network has it",
    "last_gamma": "Gluon says a first value where a layer is built",
    "in_channels": "Gluon's convolution does not keep it",
    "channels": "a graph that is traced knows no shapes",
    "std": "Gluon says a first value where a layer is built",
    "weight": "Gluon hands a layer its parameters",
    "bias": "the same",
    "path": "PyTorch's compiled network can be kept as a file",
    "truths": "detectors are trained in PyTorch alone",
    "dynamic": "MXNet plans its graph anew for another shape",
    "keep_memory": "MXNet keeps memory by itself",
    "device": "a process's share of the adding up is on MXNet's servers, in PyTorch on its device",
    "scaler": "MXNet trains in no half precision here",
}
"""Parameters that one backend alone has, and why."""


def public(path: Path, prefix: str) -> dict[str, list[str]]:
    """Dotted name -> parameters, of each public class, method and function of a file, in its order."""
    found = {}

    def visit(nodes, prefix):
        for node in nodes:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[f"{prefix}{node.name}"] = []
                visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                parameters = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                name = node.name.replace("hybrid_forward", "forward")
                found[f"{prefix}{name}"] = [parameter.arg for parameter in parameters]

    visit(ast.parse(path.read_text()).body, prefix)
    return found


def files(backend: str) -> dict[str, Path]:
    folder = PACKAGE / backend
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}


FIRST, *OTHERS = [registry.row(name).package.removeprefix("resnest.") for name in registry.BACKENDS]


@pytest.mark.parametrize("other", OTHERS)
def test_backends_hold_the_same_files(other):
    assert {name for name in {*files(FIRST)} ^ {*files(other)} if name not in ONE_ALONE} == set()


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("file", [name for name in files(FIRST) if name not in ONE_ALONE])
def test_backends_open_side_by_side(file, other):
    prefix = file.removesuffix(".py").replace("/", ".") + "."
    ours, theirs = (public(files(backend)[file], prefix) for backend in (FIRST, other))
    common = [name for name in ours if name in theirs]
    assert common == [name for name in theirs if name in ours], "in another order"
    assert {name for name in {*ours} ^ {*theirs} if not {name, name.rpartition(".")[0]} & {*ONE_ALONE}} == set()
    for name in common:
        pair = [[word for word in words if word not in OTHER_PARAMETERS] for words in (ours[name], theirs[name])]
        assert pair[0] == pair[1], name


def test_every_exception_is_one():
    """A reason for what is alike by now, or gone, is taken out."""
    backends = []
    for name in (FIRST, *OTHERS):
        found = {}
        for file, path in files(name).items():
            found |= {file: []} | public(path, file.removesuffix(".py").replace("/", ".") + ".")
        backends.append(found)
    assert {name for name in ONE_ALONE if sum(name in found for found in backends) != 1} == set()
    words = [{word for parameters in found.values() for word in parameters} for found in backends]
    assert {word for word in OTHER_PARAMETERS if not any(word in known for known in words)} == set()


def test_builders_are_the_spec_s_names(backend):
    builders = __import__(f"{backend.module.__name__}.builders", fromlist=["__all__"])
    published = [name for name in builders.__all__ if name not in ("create_model", "get_model")]
    assert sorted(published) == sorted(resnest.list_models())
    for name in published:
        assert getattr(builders, name).__name__ == name
        assert name in getattr(builders, name).__doc__
        assert "weights" in inspect.signature(getattr(builders, name)).parameters


def test_a_backend_exports_what_it_says_and_one_builder_for_each_variant(backend):
    exported = backend.module.__all__
    assert all(hasattr(backend.module, name) for name in exported)
    assert set(resnest.list_models()) <= set(exported)


@pytest.mark.gluon
def test_both_backends_have_the_same_surface():
    import resnest.gluon
    import resnest.torch

    assert set(resnest.gluon.__all__) - set(resnest.torch.__all__) == {"get_model"}
    assert set(resnest.torch.__all__) - set(resnest.gluon.__all__) == {"OptimizedDetector", "OptimizedModel"}
