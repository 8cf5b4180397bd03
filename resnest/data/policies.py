"""The authors' AutoAugment and RandAugment: operations on whole photos, in Pillow.

Their AutoAugment for ImageNet is not torchvision's: the sixteenth sub-policy takes all colour away, posterizing goes
down to one bit, colours are scaled with one sign, and turns and shears are resampled in another way.
Sources: resnest/gluon/transforms.py and resnest/torch/transforms/autoaug.py in the authors' repository.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Step = tuple[str, float, int]
"""An operation's name, the probability that it happens, and its level out of 10."""

AUTOAUGMENT: tuple[tuple[Step, Step], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 0)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("color", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)
"""The 25 sub-policies for ImageNet, of which a photo gets one."""


def autoaugment(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """`image`, in RGB, after one of the sub-policies."""
    for name, probability, level in AUTOAUGMENT[random.integers(len(AUTOAUGMENT))]:
        if random.random() <= probability:
            image = apply(image, name, level, sign=_sign(random))
    return image


def apply(image: Image.Image, name: str, level: int, sign: int = 1) -> Image.Image:
    """`image` after AutoAugment's operation `name` at `level` out of 10; `sign` is that of turns and shears."""
    part = level / 10
    if name == "rotate":
        return _rotate(image, sign * int(30 * part))
    if name == "shear_x":
        # The authors map the level to a range and back, and the last bit that this costs moves pixels.
        return _sheared(image, sign * ((0.3 * part + 0.3) / 0.6 * 0.6 - 0.3), 0)
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(4 * part))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(256 * part))
    return _PLAIN[name](image) if name in _PLAIN else _ENHANCERS[name](image).enhance(1.8 * part + 0.1)


def randaugment(image: Image.Image, operations: int, level: int, random: np.random.Generator) -> Image.Image:
    """`image`, in RGB, after `operations` of RandAugment's sixteen at `level` out of 30.

    Each is left out with a probability that is itself drawn between 0.2 and 0.8, as the authors do.
    """
    for _ in range(operations):
        operation = RANDAUGMENT[random.integers(len(RANDAUGMENT))]
        if random.random() <= random.uniform(0.2, 0.8):
            image = operation(image, level / 30, random)
    return image


def _sign(random: np.random.Generator) -> int:
    return -1 if random.random() > 0.5 else 1


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees)


def _sheared(image: Image.Image, x: float, y: float) -> Image.Image:
    return _moved(image, (1, x, 0, y, 1, 0))


def _shifted(image: Image.Image, x: float, y: float) -> Image.Image:
    return _moved(image, (1, 0, x, 0, 1, y))


def _moved(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _solarize_add(image: Image.Image, added: float) -> Image.Image:
    brighter = image.point([int(min(value + added, 255)) for value in range(256)] * len(image.getbands()))
    return ImageOps.solarize(brighter, 128)


def _cut_out(image: Image.Image, side: float, random: np.random.Generator) -> Image.Image:
    """A grey square anywhere, which may stick out to the right and below."""
    x, y = (int(max(0, random.uniform(0, length) - side / 2)) for length in image.size)
    image = image.copy()
    corner = min(image.width, x + side), min(image.height, y + side)
    ImageDraw.Draw(image).rectangle((x, y, *corner), (125, 123, 114))
    return image


_PLAIN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
}

_ENHANCERS = {
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}

Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]
"""What RandAugment does to an image, given its strength, 0 to 1."""


def _plain(name: str, image: Image.Image, part: float, random: np.random.Generator) -> Image.Image:
    return _PLAIN[name](image)


def _enhanced(name: str, image: Image.Image, part: float, random: np.random.Generator) -> Image.Image:
    return _ENHANCERS[name](image).enhance(1.8 * part + 0.1)


RANDAUGMENT: tuple[Operation, ...] = (
    *(partial(_plain, name) for name in _PLAIN),
    lambda image, part, random: _rotate(image, _sign(random) * 30 * part),
    lambda image, part, random: ImageOps.posterize(image, max(int(4 * part), 1)),  # none at all would be black
    lambda image, part, random: ImageOps.solarize(image, ceil(256 * part)),
    lambda image, part, random: _solarize_add(image, 110 * part),
    *(partial(_enhanced, name) for name in _ENHANCERS),
    lambda image, part, random: _sheared(image, _sign(random) * 0.3 * part, 0),
    lambda image, part, random: _sheared(image, 0, _sign(random) * 0.3 * part),
    lambda image, part, random: _cut_out(image, 40 * part, random),
    lambda image, part, random: _shifted(image, _sign(random) * 100 * part, 0),
    lambda image, part, random: _shifted(image, 0, _sign(random) * 100 * part),
)
"""The sixteen operations, of which each is as likely as any other."""
