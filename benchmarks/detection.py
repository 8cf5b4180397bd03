"""How fast are the detectors beside mmdetection's and torchvision's, and how much memory does a large photo take?

`make test-peers` makes the environment; then `.venv-peers/bin/python benchmarks/detection.py [OUTPUT]` times the four
families on ResNeSt-50 in an image of 800 x 1333 pixels, padded as in mmdetection, with the same weights in mmdetection
and here, and torchvision's own of the same size (v2, on ResNet-50) where it has one. A family has a process of its own,
in which all take turns; `--family` prints the table of one alone. `--memory` measures the largest resident memory of a
process that looks into a photo of 12 megapixels instead, and needs PyTorch and torchvision alone.
"""

import argparse
import importlib
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnest.jobs.bench.run import machine
from resnest.specs.detection.network import FAMILIES
from resnest.torch import create_detector, optimize

warnings.simplefilter("ignore")

TORCHVISIONS = {"faster_rcnn": "fasterrcnn_resnet50_fpn_v2", "mask_rcnn": "maskrcnn_resnet50_fpn_v2"}
FRAME = (800, 1333)
PADDED = (800, 1344)
PHOTO = (3000, 4000)
ROUNDS = 3


def named(family: str) -> str:
    return f"{family}_resnest50_coco"


def theirs(family: str) -> Any:
    """mmdetection's network of the family's published config, with norms that run on one processor."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))
    importlib.import_module("conftest")  # puts torchvision's operators where mmcv's would be
    import mmdet
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    (path,) = (Path(mmdet.__file__).parent / ".mim/configs/resnest").glob(f"{family.replace('_', '-')}_s50_*")
    config = Config.fromfile(path)
    config.model.backbone.init_cfg = None
    with_plain_norms(config.model)
    return MODELS.build(config.model).eval()


def with_plain_norms(config: Any) -> None:
    for key, value in config.items():
        if key == "norm_cfg" and value:
            config[key] = {"type": "BN", "requires_grad": True}
        elif isinstance(value, dict):
            with_plain_norms(value)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    with_plain_norms(part)


def torchvisions(family: str) -> Any:
    """torchvision's network of the family."""
    from torchvision.models import detection

    network = getattr(detection, TORCHVISIONS[family])(weights=None, weights_backbone=None).eval()
    for head in (network.rpn.head.cls_logits, network.roi_heads.box_predictor.cls_score):
        torch.nn.init.normal_(head.weight, std=1.0)  # drawn as they are, it finds nothing and does no work
    return network


def contenders(family: str, x: torch.Tensor) -> dict[str, Callable[[], int]]:
    """Name -> a function that looks into x and tells how many objects it finds."""
    from mmdet.structures import DetDataSample

    from resnest.weights.seeded import make_weight

    mmdetection = theirs(family)
    weights = {
        name: make_weight(name, tuple(tensor.shape))
        for name, tensor in mmdetection.state_dict().items()
        if tensor.is_floating_point()
    }
    mmdetection.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    ours = create_detector(named(family), weights=weights).eval()
    deployed, optimized = ours.deploy(), optimize(ours, x)
    told = {"img_shape": FRAME, "ori_shape": FRAME, "pad_shape": PADDED, "batch_input_shape": PADDED}
    last = x.to(memory_format=torch.channels_last)

    def look_theirs(images: torch.Tensor) -> int:
        sample = DetDataSample(metainfo=told | {"scale_factor": (1.0, 1.0)})
        return len(mmdetection.predict(images, [sample], rescale=False)[0].pred_instances)

    def look_ours(model: Any, images: torch.Tensor) -> int:
        return len(model(images, [FRAME])[0]["boxes"])

    runs = {
        "mmdetection": lambda: look_theirs(x),
        "mmdetection, channels last": lambda: look_theirs(last),
        "resnest.torch": lambda: look_ours(ours, x),
        "resnest.torch deploy": lambda: look_ours(deployed, x),
        "resnest.torch optimized": lambda: look_ours(optimized, x),
    }
    if family in TORCHVISIONS:
        other, photo = torchvisions(family), x[0, :, : FRAME[0], : FRAME[1]]
        runs["torchvision"] = lambda: len(other([photo])[0]["boxes"])
    return runs


@torch.no_grad()
def speed(family: str, threads: int) -> str:
    """The table of a family, in Markdown: medians of some rounds, in each of which every contender has its turn."""
    torch.set_num_threads(threads)
    x = torch.randn(1, 3, *PADDED, generator=torch.Generator().manual_seed(0))
    runs = contenders(family, x)
    counts = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    peers = [name for name in medians if not name.startswith("resnest")]
    lines = [
        f"| contender | seconds | found | {' | '.join(f'over {peer}' for peer in peers)} |",
        "|---" * (3 + len(peers)) + "|",
    ]
    for name, median in medians.items():
        ratios = " | ".join(f"{median / medians[peer]:.2f}" for peer in peers)
        lines.append(f"| {name} | {median:.2f} | {counts[name]} | {ratios} |")
    return "\n".join(lines)


def resident(which: str = "VmHWM") -> float:
    """The memory of this process in MB, at most so far (VmHWM) or now (VmRSS)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(which)).split()[1]) / 1000


@torch.inference_mode()
def memory(threads: int) -> str:
    """One line: how much a photo of 12 megapixels takes, with as many proposals and masks as there may be."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    # Drawn weights give each class the same score, and nothing would be above the published threshold.
    model = create_detector(named("mask_rcnn"), score_threshold=0.0).eval().deploy()
    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), np.uint8)
    before = resident("VmRSS")
    (found,) = model.predict([photo])
    masks = found["masks"].numel() / 1e6
    peak = resident() - before
    return (
        f"A photo of {PHOTO[1]} x {PHOTO[0]}, {len(found['boxes'])} masks of {masks:.0f} MB together: {peak:.0f} MB"
        f" above the {before:.0f} MB of the process with the network, {peak - masks:.0f} MB without the masks."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, help="a Markdown file; without it the report is printed")
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.memory:
        print(memory(chosen.threads))
        return
    if chosen.family:
        print(speed(chosen.family, chosen.threads))
        return
    parts = []
    for what in (*(["--family", family] for family in FAMILIES), ["--memory"]):
        command = [sys.executable, __file__, *what, "--threads", str(chosen.threads)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        parts.append(f"{named(what[1])}\n\n{found}" if what[0] == "--family" else found)
    import mmdet
    import torchvision

    versions = (
        f"python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__},"
        f" mmdet {mmdet.__version__}"
    )
    head = f"Float32, one image of 800 x 1333, medians of {ROUNDS} rounds in turns."
    report = f"{head}\n{machine()}, {chosen.threads} threads; {versions}.\n\n" + "\n".join(parts)
    if chosen.output is None:
        print(report)
    else:
        chosen.output.write_text(report)


if __name__ == "__main__":
    main()
