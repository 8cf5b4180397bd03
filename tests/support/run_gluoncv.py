"""Run GluonCV's ResNeSts on seeded weights: run_gluoncv.py FOLDER NAME-OUTPUT_STRIDE ... NAME ...

It reads FOLDER/images.npy and writes FOLDER/NAME-OUTPUT_STRIDE.npz; of a NAME alone, what its tensors are called, into
FOLDER/NAME.txt.

GluonCV raises where PyTorch 2 can be imported, so this is a script of its own in which it cannot.
"""

# ruff: noqa: E402  # PyTorch is shut out before anything can import it

import sys
from pathlib import Path

from tests.support.without import shut_out

shut_out("torch")

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.weights.names.backbone import DIALECTS
from resnest.weights.seeded import make_weight

from gluoncv.model_zoo import get_model  # isort: skip  # MXNet has to have been imported by us before


def main(folder: str, *networks: str) -> None:
    for network in networks:
        name, _, output_stride = network.partition("-")
        if not output_stride:
            tensors = DIALECTS["gluon"].to_canonical(get_model(name, pretrained=False)._collect_params_with_prefix())
            Path(folder, f"{name}.txt").write_text(" ".join(sorted(tensors.values())))
            continue
        run(name, output_stride, f"{folder}/images.npy", f"{folder}/{network}.npz")


def run(name: str, output_stride: str, images: str, outputs: str) -> None:
    net = get_model(name, pretrained=False, dilated=output_stride == "8")
    parameters = net._collect_params_with_prefix()
    names = DIALECTS["gluon"].to_canonical(parameters)
    for theirs, parameter in parameters.items():
        parameter.initialize()
        parameter.set_data(mx.nd.array(make_weight(names[theirs], parameter.shape)))
    net.cast("float64")
    x = mx.nd.array(np.load(images), dtype="float64")
    stages = [net.maxpool(net.relu(net.bn1(net.conv1(x))))]
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        stages.append(stage(stages[-1]))
    np.savez(outputs, *[stage.asnumpy() for stage in [*stages, net(x)]])


main(*sys.argv[1:])
