"""Whether an image file says that its colours are not sRGB. Pixels are taken as they are; what is ignored is noted.

An ICC profile counts as sRGB by its content, since there are dozens of files of that name and of other names: a matrix
profile whose three colorants are those of sRGB, under its white point D50, and whose curves are near its own at the
middle (ICC.1:2022, 9.2 and 10).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

PROFILE = "colour profile ignored (not sRGB)"
GAMMA = "gAMA ignored (not that of sRGB)"

_COLORANTS = {b"rXYZ": (0.4360, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
_CURVES = {b"RGB ": (b"rTRC", b"gTRC", b"bTRC"), b"GRAY": (b"kTRC",)}
_NEAR, _MIDDLE, _NEAR_MIDDLE = 0.006, 0.2140, 0.02  # sRGB maps 0.5 to 0.2140, a power of 2.2 to 0.2176
_GAMMA, _NEAR_GAMMA = 1 / 2.2, 0.005


def ignored(info: Mapping[str, Any]) -> list[str]:
    """What of the file's colour Pillow's pixels leave out.

    Args:
        info: of a Pillow image.
    """
    profile = info.get("icc_profile")
    if profile:
        return [] if is_srgb(bytes(profile)) else [PROFILE]
    gamma = info.get("gamma")
    if gamma and "srgb" not in info and abs(float(gamma) - _GAMMA) > _NEAR_GAMMA:
        return [GAMMA]
    return []


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile is that of sRGB, or of grey with its curve; False where it cannot be read."""
    try:
        space, tags = profile[16:20], _tags(profile)
        if space not in _CURVES:
            return False
        for name, expected in _COLORANTS.items() if space == b"RGB " else ():
            found = struct.unpack(">3i", tags[name][8:20])
            if any(abs(value / 65536 - wanted) > _NEAR for value, wanted in zip(found, expected, strict=True)):
                return False
        return all(abs(_middle(tags[name]) - _MIDDLE) <= _NEAR_MIDDLE for name in _CURVES[space])
    except (KeyError, struct.error, IndexError, OverflowError, ZeroDivisionError, ValueError):
        return False


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack(">I", profile[128:132])
    tags = {}
    for at in range(132, 132 + 12 * min(count, 100), 12):
        name, start, size = struct.unpack(">4s2I", profile[at : at + 12])
        tags[name] = profile[start : start + size]
    return tags


def _middle(curve: bytes) -> float:
    """What a tone curve makes of 0.5."""
    kind = curve[:4]
    if kind == b"curv":
        (count,) = struct.unpack(">I", curve[8:12])
        if count == 0:
            return 0.5
        if count == 1:
            return float(0.5 ** (struct.unpack(">H", curve[12:14])[0] / 256))
        values = struct.unpack(f">{count}H", curve[12 : 12 + 2 * count])
        return float(values[(count - 1) // 2] + values[count // 2]) / 2 / 65535
    if kind != b"para":
        raise ValueError("another kind of curve")
    (function,) = struct.unpack(">H", curve[8:10])
    g, a, b, c, d, e, f = (*struct.unpack(">7i", curve[12:40].ljust(28, b"\0")),)
    g, a, b, c, d, e, f = (value / 65536 for value in (g, a, b, c, d, e, f))
    if function == 0:
        return float(0.5**g)
    bound = -b / a if function in (1, 2) else d
    if bound > 0.5:
        return float({1: 0.0, 2: c, 3: c * 0.5, 4: c * 0.5 + f}[function])
    added = {1: 0.0, 2: c, 3: 0.0, 4: e}[function]
    return float((a * 0.5 + b) ** g + added)
