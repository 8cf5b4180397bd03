import os
import subprocess
import sys

import pytest

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
