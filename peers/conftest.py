"""mmcv-lite has no compiled operators, and mmsegmentation imports some that none of these networks uses."""

import importlib.machinery
import sys
import types


class _Operators(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise NotImplementedError(f"mmcv.ops.{name} is not in mmcv-lite")

        return type(name, (), {"__init__": missing})


stand_in = _Operators("mmcv.ops")
stand_in.__spec__ = importlib.machinery.ModuleSpec("mmcv.ops", None)
sys.modules["mmcv.ops"] = stand_in


def pytest_configure(config):
    for mark in ("compile", "logits_match", "torch_export", "torch_script"):
        config.addinivalue_line("markers", f"{mark}: in segmentation-models-pytorch's own tests")
