"""Modules that a callable refers to: closures, defaults, globals that it names, attributes, items, arguments."""

from __future__ import annotations

import functools
import types
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

_DEPTH, _MOST = 6, 2000  # how far, and over how many objects
_COMPILED = "_torchdynamo_orig_callable"  # the attribute of compiled functions that holds what was compiled
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None), Tensor, torch.Generator, type)
_FOREIGN = ("torch", "numpy", "ganeval", "PIL", "builtins")


def find_modules(model: object) -> tuple[list[nn.Module], bool]:
    """Modules that ``model`` refers to, none of them inside another, and whether some of its code is compiled."""
    found: dict[int, nn.Module] = {}
    seen: dict[int, object] = {}
    compiled, edge = False, [model]
    for _ in range(_DEPTH):
        further: list[object] = []
        for value in edge:
            if id(value) in seen or len(seen) >= _MOST:
                continue
            seen[id(value)] = value
            with suppress(Exception):  # any attribute of an object may raise
                if isinstance(value, nn.Module):
                    found[id(value)] = value
                else:
                    compiled = compiled or _COMPILED in _attributes(value)
                    further += _parts(value)
        edge = further
    inner = {id(part) for module in found.values() for part in module.modules() if part is not module}
    outer = [module for module in found.values() if id(module) not in inner]
    return outer, compiled or any(is_compiled(part) for module in outer for part in module.modules())


def _parts(value: object) -> list[object]:
    """Parts of an object that may hold a module; no user code runs for it."""
    if isinstance(value, (*_PLAIN, types.ModuleType)):  # members of modules are found where a function names them
        return []
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*cells, *defaults, *_globals_of(value), *vars(value).values()]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, dict):
        return list(dict.values(value))[:_MOST]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)[:_MOST]
    if isinstance(value, torch._C.ScriptMethod):
        return [torch.jit._recursive.wrap_cpp_module(value.owner)]  # type: ignore[no-untyped-call]
    parts = list(_attributes(value).values())
    if type(value).__module__.partition(".")[0] in _FOREIGN:
        return parts
    for kind in type(value).__mro__:
        for member in vars(kind).values():
            if isinstance(member, types.MemberDescriptorType):  # a slot
                with suppress(AttributeError):
                    parts.append(member.__get__(value))
            elif isinstance(member, types.FunctionType | property):  # which may name modules too
                parts.append(member)
    return parts


def _attributes(value: object) -> dict[str, object]:
    try:
        return dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        return {}


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _globals_of(function: types.FunctionType) -> list[object]:
    """Globals that a function names, and members of modules among them that it names."""
    names = _names_in(function.__code__)
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    inside = [
        vars(value)[name]
        for value in values
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in _FOREIGN
        for name in names
        if name in vars(value)
    ]
    return [*values, *inside]


def _names_in(code: types.CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*(_names_in(one) for one in inner))


def is_compiled(module: nn.Module) -> bool:
    """Whether this module runs as compiled code."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def find_attribute(model: object, name: str) -> Any:
    """An attribute of the model, also through wrappers: DataParallel, a compiled module, a bound method, a partial.

    None where none of them has such an attribute.
    """
    for _ in range(_DEPTH):
        if (found := getattr(model, name, None)) is not None:
            return found
        if isinstance(model, functools.partial):
            model = model.func
            continue
        inner = [getattr(model, inside, None) for inside in ("_orig_mod", "module", "__self__", "__wrapped__")]
        model = next((one for one in inner if isinstance(one, nn.Module) or callable(one)), None)
        if model is None:
            return None
    return None


def unwrap_distributed(model: Any) -> Any:
    """The module inside DistributedDataParallel, whose forward would wait for ranks that have no batch left."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
