"""An accelerator that is Python alone: PyTorch takes it for one of the devices that extend it, and calls it ``toy``.

Its tensors are another device's to PyTorch (mixing them with the host's is an error, as on any accelerator), and what
is asked of them is computed on the host. It has no float64, and lacks the operations of ``LACKS``. One process has one
such device for good, so tests run it in a process of its own.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

LACKS: set[str] = set()
COUNTS: dict[str, int] = {}
WRONG: dict[str, float] = {}  # by operation, what its results are multiplied by


class _Module(backend_registration._DummyBackendModule):
    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Toy(Tensor):
    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    def detach(self) -> Tensor:  # type: ignore[override]
        return _there(self.raw)


def _there(raw: Tensor) -> Tensor:
    if raw.dtype == torch.float64:
        raise TypeError("Cannot convert a toy tensor to float64, which toy does not have. Use float32")
    out: Any = torch._C._acc.create_empty_tensor(raw.shape, raw.dtype)
    out.__class__ = Toy
    out.raw = raw
    return out


def _here(value: Any) -> Any:
    if isinstance(value, Toy):
        return value.raw
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == "toy" else value


def _compute(op: Any, *args: Any, **kwargs: Any) -> Any:
    name = op.overloadpacket.__name__
    COUNTS[name] = COUNTS.get(name, 0) + 1
    if name in LACKS:
        raise NotImplementedError(f"The operator 'aten::{name}' is not implemented for toy. Ask its makers")
    given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    if any(one.ndim and not isinstance(one, Toy) for one in given):
        raise RuntimeError(f"{name}: expected all tensors to be on toy")
    inside, options = tree_map(_here, (args, kwargs))
    out = op(*inside, **options)
    if name in WRONG:
        out = out * WRONG[name]

    def back(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        same = [one for one in given if isinstance(one, Toy) and one.raw is value]
        return same[0] if same else _there(value)

    inference = torch.is_inference_mode_enabled() and all(one.is_inference() for one in given)
    with torch.inference_mode(inference):  # a view of a tensor that is none of inference mode is none either
        return tree_map(back, out)


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _here(target).copy_(_here(source))
    return target


def _empty(size: Any, dtype: Any = None, layout: Any = None, device: Any = None, *_: Any, **__: Any) -> Tensor:
    return _there(torch.empty(size, dtype=dtype or torch.float32, device="cpu"))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
    return _there(torch.empty_strided(size, stride, dtype=dtype or torch.float32, device="cpu"))


def _convolution(*given: Any) -> Any:
    return _compute(torch.ops.aten.convolution.default, *given)


# PyTorch would make these of strides, which only the host's tensors have
_VIEWS = (
    "slice.Tensor", "select.int", "transpose.int", "permute", "view", "reshape", "expand", "t", "unsqueeze",
    "squeeze.dim", "unbind.int", "diagonal", "split.Tensor", "alias", "flatten.using_ints", "index.Tensor",
)  # fmt: skip

backend_registration._setup_privateuseone_for_python_backend("toy", backend_module=_Module())
_everything, _aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
_everything.fallback(_compute, "PrivateUse1")
for _name, _function in {
    "_copy_from": _copy_from, "empty.memory_format": _empty, "empty_strided": _empty_strided,
    "convolution_overrideable": _convolution,
}.items():  # fmt: skip
    _aten.impl(_name, _function, "PrivateUse1")
for _name in _VIEWS:
    _packet, _, _overload = _name.partition(".")
    _op = getattr(getattr(torch.ops.aten, _packet), _overload or "default")
    _aten.impl(_name, functools.partial(_compute, _op), "PrivateUse1")
