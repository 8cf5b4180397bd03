"""Every check and measurement that needs a GPU, in one command: python benchmarks/gpu.py [NAME]."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from resnest.specs.published import ALIASES, get_spec
from resnest.torch import create_model
from resnest.torch.layers.splat import weighted_sum
from resnest.weights.seeded import draw_weights

Predict = Callable[[Tensor], Tensor]

BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest relative difference of logits on the GPU from float64 on the CPU; TF32 is off."""

WARM_UP, ROUNDS = 3, 20


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU that PyTorch can use, and torch.cuda.is_available() says there is none")
    name = sys.argv[1] if len(sys.argv) > 1 else "resnest50"
    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    check(name)
    for batch in (1, 64):
        measure(name, batch)
    measure_training(name)
    measure_split_attention()


def check(name: str) -> None:
    """Logits of both forms in every dtype against float64 on the CPU; raises where one is too far off."""
    weights = draw_weights(get_spec(name))
    model = create_model(name, weights=weights).eval()
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.backends.cudnn.allow_tf32 = False  # ten bits of mantissa, which float32 here does not mean
    with torch.inference_mode():
        expected = create_model(name, weights=weights).double().eval()(images.double())
        for form, network in (("training form", model), ("deploy form", model.deploy())):
            placed = on_gpu(network)
            for dtype, bound in BOUNDS.items():
                with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                    logits = placed(images.cuda().to(memory_format=torch.channels_last))
                off = float((logits.cpu().double() - expected).abs().max() / expected.abs().max())
                print(f"{form:14s} {dtype!s:15s} {off:.1e} off, at most {bound:.0e}")
                if not off <= bound:
                    raise ValueError(f"{form} in {dtype} is {off:.1e} off, more than {bound:.0e}")
    torch.backends.cudnn.allow_tf32 = True


def on_gpu(network: torch.nn.Module) -> torch.nn.Module:
    return network.cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch's hints lack it


def autocast(network: torch.nn.Module, dtype: torch.dtype) -> Predict:
    def predict(images: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            return network(images)

    return predict


def graphed(predict: Predict, example: Tensor) -> Predict:
    """The same as one CUDA graph, for images of the shape of `example`."""
    static = example.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            predict(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = predict(static)

    def replay(images: Tensor) -> Tensor:
        static.copy_(images)
        graph.replay()
        return out

    return replay


def measure(name: str, batch: int) -> None:
    """Milliseconds a batch of every form in every dtype, eager, as a CUDA graph and compiled, beside timm."""
    layout = torch.channels_last
    images = torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=layout)
    networks: dict[str, torch.nn.Module] = {
        "ours": create_model(name).eval(),
        "deploy": create_model(name).eval().deploy(),
    }
    alias = next((alias for alias, model in ALIASES.items() if model == get_spec(name).name), None)
    if alias is not None:
        import timm

        networks["timm"] = timm.create_model(alias).eval()
    contenders: dict[str, Predict] = {}
    with torch.no_grad():
        for label, network in networks.items():
            network = on_gpu(network)
            for dtype in BOUNDS:
                eager = autocast(network, dtype)
                kind = f"{label} {str(dtype).removeprefix('torch.')}"
                contenders[kind] = eager
                contenders[f"{kind} graph"] = graphed(eager, images)
                contenders[f"{kind} compiled"] = torch.compile(autocast(network, dtype), mode="max-autotune")
        print(f"{name}, prediction, batch {batch}")
        for label, milliseconds in medians(contenders, images).items():
            print(f"  {label:28s} {milliseconds:8.2f} ms")


def measure_training(name: str, batch: int = 64) -> None:
    """Milliseconds and peak memory of a training step in bfloat16 autocast, beside timm."""
    alias = next((alias for alias, model in ALIASES.items() if model == get_spec(name).name), None)
    networks: dict[str, torch.nn.Module] = {"ours": create_model(name)}
    if alias is not None:
        import timm

        networks["timm"] = timm.create_model(alias)
    labels = torch.arange(batch, device="cuda") % 1000
    images = torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    for label, network in networks.items():
        network = on_gpu(network).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

        def step(images: Tensor, network=network, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            return loss

        torch.cuda.reset_peak_memory_stats()
        milliseconds = medians({label: step}, images)[label]
        peak = torch.cuda.max_memory_allocated() / 1e6
        print(f"{name}, training step, batch {batch}, bfloat16: {label} {milliseconds:.1f} ms, {peak:.0f} MB")
        del network, optimizer, step
        torch.cuda.empty_cache()


def measure_split_attention() -> None:
    """The weighted sum of two splits: eager, compiled and as a Triton kernel, against the bytes that it has to move."""
    import triton_splat

    for channels, side in ((64, 56), (128, 28), (256, 14), (512, 7)):
        x = torch.randn(64, 2 * channels, side, side, device="cuda", dtype=torch.float16).to(
            memory_format=torch.channels_last
        )
        attention = torch.randn(64, 2 * channels, 1, 1, device="cuda", dtype=torch.float16)
        eager = partial(weighted_sum, attention=attention, radix=2, cardinality=1)
        with torch.no_grad():
            contenders: dict[str, Predict] = {
                "eager": eager,
                "compiled": partial(torch.compile(weighted_sum), attention=attention, radix=2, cardinality=1),
                "triton": partial(triton_splat.weighted_sum, attention=attention),
            }
            exact = weighted_sum(x.double(), attention.double(), radix=2, cardinality=1)
            for label, run in contenders.items():
                off = float((run(x).double() - exact).abs().max() / exact.abs().max())
                if not off <= BOUNDS[torch.float16]:
                    raise ValueError(
                        f"the {label} weighted sum is {off:.1e} off, more than {BOUNDS[torch.float16]:.0e}"
                    )
            times = medians(contenders, x)
        moved = 1.5 * x.numel() * x.element_size() / 1e9
        speeds = ", ".join(f"{label} {ms:.3f} ms ({1e3 * moved / ms:.0f} GB/s)" for label, ms in times.items())
        print(f"weighted sum of 2 x {channels} channels at {side}x{side}, batch 64, float16: {speeds}")


def medians(contenders: dict[str, Callable[[Tensor], Tensor]], images: Tensor) -> dict[str, float]:
    """Milliseconds of each contender: the median of some rounds in which they take turns."""
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for number in range(WARM_UP + ROUNDS):
        for label, run in contenders.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            run(images)
            torch.cuda.synchronize()
            if number >= WARM_UP:
                seconds[label].append(time.perf_counter() - start)
    return {label: 1e3 * statistics.median(times) for label, times in seconds.items()}


if __name__ == "__main__":
    main()
