import os
import subprocess
import sys

import pytest

import resnest
from tests.support.without import run_without

IMPORT = """
import time, sys, numpy
start = time.perf_counter()
import resnest
print(time.perf_counter() - start)
print(*[name for name in ("torch", "mxnet", "safetensors", "PIL", "click", "rich") if name in sys.modules])
"""


def test_importing_the_package_is_fast_and_loads_no_framework():
    seconds = []
    for _ in range(7):  # the fastest counts: other tests run beside this one
        run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        duration, loaded = run.stdout.split("\n")[:2]
        assert loaded == ""
        seconds.append(float(duration))
    assert min(seconds) < 0.1


def test_the_weights_package_loads_no_framework():
    code = "import sys, resnest.weights; print(*[m for m in ('torch', 'mxnet') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_the_package_exports_what_it_says():
    assert all(hasattr(resnest, name) for name in resnest.__all__)


def test_a_backend_exports_what_it_says_and_one_builder_for_each_variant(backend):
    exported = backend.module.__all__
    assert all(hasattr(backend.module, name) for name in exported)
    assert set(resnest.list_models()) <= set(exported)


@pytest.mark.gluon
def test_both_backends_have_the_same_surface():
    import resnest.gluon
    import resnest.torch

    assert set(resnest.gluon.__all__) - set(resnest.torch.__all__) == {"get_model"}
    assert set(resnest.torch.__all__) - set(resnest.gluon.__all__) == {"Detector", "OptimizedModel", "create_detector"}


COPY = """
import os
import resnest.gluon, mxnet as mx
mx.nd.zeros(2).asnumpy()
before = len(os.listdir("/proc/self/task"))
mx.nd.array(mx.nd.zeros(2**20).asnumpy()).asnumpy()
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.gluon
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's threads from /proc")
def test_copying_weights_leaves_mxnet_no_threads_that_slow_it_down():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "0"


@pytest.mark.parametrize(
    ("package", "framework", "name"),
    [("torch", "torch", "PyTorch"), pytest.param("gluon", "mxnet", "MXNet", marks=pytest.mark.gluon)],
)
def test_a_missing_framework_is_one_sentence_that_says_what_to_install(package, framework, name):
    run = run_without([framework], f"import resnest.{package}")
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: resnest.{package} needs {name}")
    assert f"pip install 'resnest[{package}]'" in last
