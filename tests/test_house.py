"""The house keeps its rules: floors, faces without code, one command a file, tests as their modules, imports."""

import ast
import dataclasses
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from click import Command

import resnest
from resnest.backends import registry
from resnest.cli import main
from resnest.specs.networks import TASKS
from tests.support.paths import REPOSITORY
from tests.support.without import run_without

PACKAGE = REPOSITORY / "resnest"

IMPORT = """
import sys
before = set(sys.modules)
import resnest
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
print(*sorted({".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("resnest.")}))
"""


def test_importing_the_package_loads_its_specs_and_nothing_that_was_installed():
    """What that takes in milliseconds is measured by benchmarks/start_up.py."""
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["resnest", "resnest.specs"]


def test_the_weights_package_loads_no_framework():
    code = "import sys, resnest.weights; print(*[m for m in ('torch', 'mxnet') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize("floor", ["specs", "data", "weights"])
def test_what_is_handed_on_cannot_be_changed(floor):
    names = [module.name for module in pkgutil.walk_packages([str(PACKAGE / floor)], f"resnest.{floor}.")]
    held = [value for name in names for value in vars(importlib.import_module(name)).values()]
    kinds = {kind for kind in held if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
    assert kinds
    assert [kind for kind in kinds if not kind.__dataclass_params__.frozen] == []


def test_the_package_exports_what_it_says():
    assert all(hasattr(resnest, name) for name in resnest.__all__)


@pytest.mark.parametrize(
    ("package", "framework", "name"),
    [("torch", "torch", "PyTorch"), pytest.param("gluon", "mxnet", "MXNet", marks=pytest.mark.gluon)],
)
def test_a_missing_framework_is_one_sentence_that_says_what_to_install(package, framework, name):
    run = run_without([framework], f"import resnest.{package}")
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: resnest.{package} needs {name}")
    assert f"pip install 'resnest[{package}]'" in last


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_face_hands_names_on_and_holds_no_code(path):
    for node in ast.parse(path.read_text()).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        targets = [node.target] if isinstance(node, ast.AugAssign) else getattr(node, "targets", [])
        names = {target.id for target in targets}
        assert isinstance(node, ast.Import | ast.ImportFrom) or is_text or names & {"__all__", "__version__"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli" / "commands").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_command_file_holds_one_command_named_like_it(path):
    module = __import__(f"resnest.cli.commands.{path.stem}", fromlist=["command"])
    assert [name for name, value in vars(module).items() if isinstance(value, Command)] == ["command"]
    assert module.command.name == path.stem.replace("_", "-")
    assert module.command.name in main.list_commands(None)


def test_every_floor_keeps_to_its_imports():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_the_tests_own_folders_hide_no_framework():
    """Without this file pytest would put `tests/` on the path, where `torch` and `gluon` are folders."""
    assert (REPOSITORY / "tests" / "__init__.py").is_file()


def test_hubconf_names_every_package_that_its_networks_may_import():
    """torch.hub asks for those before it loads; a detector's own are asked for where there is one."""
    tree = ast.parse((REPOSITORY / "hubconf.py").read_text())
    dependencies = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    graph = grimp.build_graph("resnest", include_external_packages=True)
    reached = {name for name in graph.find_upstream_modules("resnest.torch.builders") if "resnest" not in name}
    assert {*dependencies} == reached - sys.stdlib_module_names - {"torchvision", "pycocotools"}


def test_every_package_that_is_imported_is_declared():
    graph = grimp.build_graph("resnest", include_external_packages=True)
    imported = {name for name in graph.modules if "resnest" not in name} - sys.stdlib_module_names
    text = (REPOSITORY / "pyproject.toml").read_text()
    declared = re.findall(r'"([\w-]+)', text[text.index("dependencies = [") : text.index("[project.scripts]")])
    called = {"PIL": "pillow", "yaml": "pyyaml", "segmentation_models_pytorch": "segmentation-models-pytorch"}
    assert {called.get(name, name) for name in imported} - {*declared} == {"detectron2"}  # on no package index


LOADED = """
import sys
from resnest.cli import main
main({command!r}, standalone_mode=False)
print("loaded:", *[name for name in {names!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["list"], ["numpy", "PIL", "safetensors", "torch", "mxnet"]),
        (["info", "resnest50"], ["numpy", "PIL", "safetensors", "torch", "mxnet"]),
        (["info", "fcn_resnest101_voc"], ["numpy", "PIL", "safetensors", "torch", "mxnet"]),
        (["--help"], ["torch", "mxnet", "onnx", "onnxruntime", "matplotlib", "huggingface_hub"]),
    ],
    ids=" ".join,
)
def test_a_command_loads_no_more_than_it_needs(command, names):
    code = LOADED.format(command=command, names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_every_folder_of_code_is_packed():
    """setuptools packs a folder that has a face, and data that setup.cfg names."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
    data = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.parent for path in data - {PACKAGE / "py.typed"}} == {PACKAGE / "data" / "assets"}
    packed = (REPOSITORY / "setup.cfg").read_text().splitlines()
    assert {"resnest = py.typed", "resnest.data = assets/*"} <= {*packed}


def asked(node: ast.AST) -> str | None:
    """What a test in the code asks for by name, where that is a task or a backend."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        named = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
        return ast.unparse(node) if named & {kind.__name__ for kind in TASKS} else None
    if isinstance(node, ast.Compare):
        names = {*registry.BACKENDS, *(word for task in TASKS.values() for word in (task.name, task.title))}
        sides = [leaf for side in (node.left, *node.comparators) for leaf in getattr(side, "elts", [side])]
        return ast.unparse(node) if any(getattr(side, "value", None) in names for side in sides) else None
    return None


AT_HOME = {
    "jobs/predict/classification.py": "says of a file of another task that it is one",
    "jobs/predict/attention.py": "asked for a backbone",
    "jobs/bench/others.py": "hides PyTorch's package, whose name is the backend's",
    "weights/formats/torch_tensors.py": "reads the names of that package's modules",
}
"""Files that ask for a task or a backend by name, and why."""


def test_tasks_and_backends_are_asked_of_tables_and_not_by_name():
    """What depends on the task of a network, or on the backend, is a row of a table: a new one is a new row."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        questions = [question for node in ast.walk(ast.parse(path.read_text())) if (question := asked(node))]
        if questions:
            found[path.relative_to(PACKAGE).as_posix()] = questions
    assert {file: questions for file, questions in found.items() if file not in AT_HOME} == {}
    assert {*AT_HOME} <= {*found}


MIRRORED = ["specs", "weights", "data", "jobs", "cli"]

ACROSS = {
    "jobs/export/test_dtypes.py": "files that compute in half precision, by every writer there is",
    "weights/formats/test_fuzz.py": "what every format's reading makes of broken files",
    "weights/published/test_servers.py": "how servers and networks misbehave, over the modules of a download",
}
"""Tests of no module of their own, and why."""


def test_the_tests_mirror_the_tree():
    tests = REPOSITORY / "tests"
    found = {path.relative_to(tests).as_posix() for room in MIRRORED for path in (tests / room).rglob("test_*.py")}
    modules = {name: PACKAGE / name.replace("test_", "") for name in found}
    alone = {name for name, module in modules.items() if not (module.is_file() or module.with_suffix("").is_dir())}
    assert alone == {*ACROSS}
