"""Generators that specs name: those that ship with ganeval, files of them, and callables that are imported.

``ganeval.images.grammar`` has the forms of ``gen:`` specs. Each names a model that takes latents; followed by the spec
of images in parentheses it translates those images, as in ``gen:cyclegan-plain2striped(dataset:shapes-plain:64@3)``,
and these nest. The working directory is importable.

A file is never unpickled by Python. TorchScript archives hold pickles, but torch reads those with a reader of its own
that builds tensors and TorchScript's types and calls nothing; a file of ``torch.save`` is refused. Still TorchScript is
a program, and so is an imported module: run only what you trust. Safetensors hold numbers alone.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganeval.errors import ConfigError, InputError, WeightsError, did_you_mean
from ganeval.generators.checkpoint import WEIGHTS, Checkpoint, load_generator
from ganeval.generators.translated import TranslatedSource
from ganeval.images.generated import GeneratedSource
from ganeval.images.grammar import as_spec
from ganeval.images.module_search import find_attribute
from ganeval.images.open import open_images
from ganeval.images.options import COUNT, OpenOptions
from ganeval.images.pixels import check_range
from ganeval.images.specs import (
    Generator,
    GeneratorFile,
    ImportedGenerator,
    Invalid,
    Rendered,
    ScriptFile,
    ShippedGenerator,
    Spec,
    Translation,
)
from ganeval.images.types import ImageSource, NumberedSource
from ganeval.images.user_models import describe_error
from ganeval.parsing.arguments import option
from ganeval.parsing.torchscript import load_torchscript


def open_source(spec: Any, *, num: int | None = None, options: OpenOptions | None = None, **given: Any) -> ImageSource:
    """``open_images``, which also takes the ``gen:`` specs of this module.

    Our own checkpoints know their range of values and their latents. A callable that is not a module gets its latents
    on the device of the options, unless it has an attribute ``device``.

    Args:
        spec: see above.
        num: take this many, drawn by the seed without replacement.
        options: how; or the fields of ``OpenOptions`` as keyword arguments.

    Raises:
        InputError: no such generator, one that cannot be imported, or without what it needs.
        WeightsError: a file that is missing, damaged or of another kind.
        ConfigError: prompts for a generator of our own, which takes none.
    """
    options = options or OpenOptions(**given)
    named = as_spec(spec)
    if not isinstance(named, Translation | Generator):
        return open_images(spec if named is None else named, num=num, options=options)
    num = COUNT("num", num)
    if isinstance(named, Translation):
        source = _translated(named.text, _find(named.model), named.source, options.at_most(num))
    else:
        source = _generated(named.text, _find(named), options.at_most(num, generated=True))
    return open_images(source, num=num, options=options)


def is_made(spec: object) -> bool:
    """Whether images are made on demand, by a generator or a renderer, so that their number must be given.

    For a source that is open already this is not known, and a spec that names nothing raises when it is opened: both
    count.
    """
    named = as_spec(spec)
    if isinstance(named, Translation):  # it makes as many as it is given
        return is_made(named.source)
    if named is not None:
        return isinstance(named, Rendered | Generator | Invalid)
    return isinstance(spec, ImageSource | torch.nn.Module) or (callable(spec) and not hasattr(spec, "__getitem__"))


def _generated(spec: str, model: Checkpoint | Callable[..., Any], options: OpenOptions) -> NumberedSource:
    if not isinstance(model, Checkpoint):
        return GeneratedSource(spec, model, options)
    if model.architecture.translates:
        raise InputError(
            f"{spec} translates images: say which, in parentheses (and in quotes, for the shell): "
            f"'{spec}(dataset:shapes-plain:64)', or '{spec}(my-images/)'."
        )
    if options.prompts is not None:
        raise ConfigError(
            f"{option('prompts')}: {spec} makes images of latents alone, it takes no text. Leave it out, or give a "
            "generator of your own: gen:package.module:callable."
        )
    own = replace(options, value_range=None, latent_dim=None, num_classes=None)
    return GeneratedSource(spec, model.module, own, fixed_batch=model.architecture.batch, **_facts(model))


def _translated(spec: str, model: Checkpoint | Callable[..., Any], inner: Spec, options: OpenOptions) -> NumberedSource:
    source = open_source(inner, options=options)
    if not isinstance(source, NumberedSource):
        raise InputError(f"{spec}: the images of {inner} cannot be counted; put them in a folder or archive.")
    place: dict[str, Any] = {"seed": options.seed, "device": options.place}
    if not isinstance(model, Checkpoint):
        value_range = options.value_range or check_range(find_attribute(model, "value_range"))
        if value_range is None:
            raise InputError(
                f"{spec}: say which values stand for black and for white in what it takes and makes, for example "
                "--value-range -1,1 (value_range=(-1, 1) in Python)."
            )
        return TranslatedSource(spec, source, model, value_range, keep_mode=options.keep_mode, **place)
    if not model.architecture.translates:
        raise InputError(f"{spec} makes images of latents, it does not translate; leave ({inner}) out.")
    return TranslatedSource(
        spec,
        source,
        model.module,
        (-1.0, 1.0),
        batch=model.architecture.batch,
        exact=True,
        check_size=_check_size,
        facts=_facts(model),
        **place,
    )


def _check_size(height: int, width: int) -> None:
    from ganeval.generators.cyclegan import check_size

    for size in (height, width):
        check_size(size, 16)


def _facts(model: Checkpoint) -> dict[str, object]:
    return {"model": model.card["model"], "weights": model.sha256}


# --- what a spec names, see ganeval.images.specs -----------------------------------------------------------------


def _find(spec: Generator) -> Checkpoint | Callable[..., Any]:
    match spec:
        case ShippedGenerator(name=name):
            return _shipped(name)
        case GeneratorFile(path=path):
            return _from_file(path)
        case ScriptFile(path=path):
            return load_torchscript(path, _SAVE)
        case ImportedGenerator(module=module, name=name):
            return _imported(spec.text, module, name)


def _shipped(name: str) -> Checkpoint:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"the weights of {name} should ship with ganeval, and are not in {path.parent}: the installation is "
            "damaged. Install ganeval again."
        )
    return load_generator(path)


def _from_file(path: Path) -> Checkpoint:
    if path.is_dir():
        found = sorted(file for file in path.glob("*.safetensors") if file.with_suffix(".json").is_file())
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise WeightsError(
                f"{path} should hold one generator, a .safetensors with its .json; found {names}. Name the file."
            )
        path = found[0]
    return load_generator(path.with_suffix(".safetensors") if path.suffix.lower() == ".json" else path)


_SAVE = (
    "Pickles are never read. Save the generator with torch.jit.script(g).save(...), or write a function that loads it: "
    "gen:package.module:callable."
)


def _imported(spec: str, module_name: str, name: str) -> Callable[..., Any]:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # for good: the module may import more of its kind later
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"{spec}: there is no module {error.name} in {here} or among the installed packages. "
                "Start in the folder that holds it, or install it."
            ) from error
        raise InputError(f"{spec}: importing {module_name} fails: {describe_error(error)}.") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # user code may raise anything
        raise InputError(f"{spec}: importing {module_name} fails: {describe_error(error)}.") from error
    try:
        found = functools.reduce(getattr, name.split("."), module)
    except AttributeError as error:
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise InputError(
            f"{spec}: {module_name} ({module.__file__}) has no {name!r}.{did_you_mean(name, names)}"
        ) from error
    if isinstance(found, type) or not callable(found):
        kind = "a class: make one of it in the module, and name that" if isinstance(found, type) else "not callable"
        raise InputError(f"{spec}: {name} is {kind}. Expected a callable that turns latents into images.")
    generator: Callable[..., Any] = found
    return generator
