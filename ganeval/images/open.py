"""Open images: ``open_images`` takes a spec or an object that holds images and returns an ``ImageSource``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganeval.errors import InputError
from ganeval.images import specs
from ganeval.images.grammar import as_spec, prefix_hint
from ganeval.images.options import COUNT, OpenOptions
from ganeval.images.registry import KINDS, kind_of
from ganeval.images.specs import Spec
from ganeval.images.types import Images, ImageSource

if TYPE_CHECKING:
    from ganeval.images.indexed import EncodedFiles


def open_images(spec: Any, *, num: int | None = None, options: OpenOptions | None = None, **given: Any) -> ImageSource:
    """Open a spec or an object that holds images.

    Args:
        spec: text or a path, see ``ganeval.images.specs``: a folder, FILE.zip, FILE.tar (also .tar.gz, and
            ``shards-{000..099}.tar``), FILE.parquet, FILE.arrow, FILE.h5, FILE.npz with ``arr_0``, FILE.npy,
            ``dataset:NAME:SPLIT`` of torchvision, ``dataset:shapes[-plain|-striped][:SIZE][@SEED]``; or what
            ``parse_spec`` made of one; from Python also a tensor or array (NCHW or NHWC), a Dataset, a DataLoader, any
            iterable of images or batches, or a callable that turns latents into images.
        num: take this many, drawn by ``seed`` without replacement (of a stream: the first ones).
        options: how; or the fields of ``OpenOptions`` as keyword arguments.

    Raises:
        InputError: nothing there, nothing that holds images, or floats without ``value_range``.
    """
    options = options or OpenOptions(**given)
    num = COUNT("num", num)
    named = None if isinstance(spec, ImageSource) else as_spec(spec)
    if isinstance(spec, ImageSource):
        source = spec
    elif named is not None:
        source = _open_named(named, options.at_most(num))
    else:
        source = _open_object(spec, options.at_most(num, generated=True))
    if num is None or num == source.length:
        return source
    return source.subset(num, options.seed)


def has_items(spec: object, *, archives: bool = False) -> bool:
    """Whether a spec names a data set, a stream or a file of columns, whose items may hold more than an image.

    Args:
        archives: count those whose files have WebDataset keys too.
    """
    named = as_spec(spec)
    if named is not None:
        if isinstance(named, specs.Archive | specs.Shards):
            return archives or named.text.lower().endswith(specs.TABLES)
        files = (specs.TableFile, specs.HDF5File, specs.RemotePlace)
        return isinstance(named, (specs.TorchvisionDataset, specs.RegisteredSource, *files))
    return spec is not None and not hasattr(spec, "dtype")


def _open_named(spec: Spec, options: OpenOptions) -> ImageSource:
    from ganeval.images import dataset, generated
    from ganeval.images.deep import declare
    from ganeval.images.indexed import IndexedSource

    name = spec.text
    images: Images
    match spec:
        case specs.Rendered():
            images = generated.open_shapes(spec, options.num_samples, options.seed)
        case specs.TorchvisionDataset():
            images = dataset.open_torchvision(spec, options)
        case specs.RegisteredSource(prefix=prefix, name=text):
            return _registered(name, KINDS[prefix].open(text, options))
        case specs.RemotePlace():
            return _open_remote(spec, options)
        case specs.Missing():
            raise InputError(
                f"No such file or folder: {name!r}. Check the path, relative to {Path.cwd()}.{prefix_hint(name)}"
            )
        case specs.Invalid(problem=problem):
            raise InputError(problem)
        case _:
            images = _open_files(spec, options)
    declare(images, options.value_range)
    return IndexedSource(name, images)


def _open_files(spec: Spec, options: OpenOptions) -> Images:
    """The images of a folder, of a file, or of several files.

    Raises:
        InputError: the spec names no images.
    """
    from ganeval.images import archive, array, folder, hdf5, shards, tables
    from ganeval.images.decode import SUFFIXES

    match spec:
        case specs.Folder(path=path):
            return folder.open_folder(path, any_suffix=options.any_suffix)
        case specs.Archive(path=path, form="zip"):
            return archive.open_zip(path, options)
        case specs.Archive(path=path):
            return archive.open_tar(path, options)
        case specs.TableFile(path=path, form=form):
            return tables.open_table(path, form, options)
        case specs.HDF5File(path=path):
            return hdf5.open_hdf5(path, options)
        case specs.Shards(pattern=pattern):
            return shards.open_shards(pattern, lambda path: _open_shard(path, options))
        case specs.ArrayFile(path=path, form="npy"):
            return array.open_npy(path, options.value_range)
        case specs.ArrayFile(path=path, part=part) if part != "statistics":
            return array.open_npz(path, options.value_range)
        case specs.OtherFile(path=path):
            image = path.suffix.lower() in SUFFIXES
            hint = "Point at the folder that holds it." if image else "Put the images in a folder or archive."
            raise InputError(
                f"{spec} is not a folder, .zip, .tar, .tar.gz, .parquet, .arrow, .h5, .npz or .npy file. {hint}"
            )
        case _:
            statistics = isinstance(spec, specs.NamedStatistics | specs.ArrayFile)
            kind = "reference statistics" if statistics else "a generator"
            raise InputError(f"{spec} names {kind}; expected images: a folder, an archive, an array or a dataset.")


def _open_remote(spec: specs.RemotePlace, options: OpenOptions) -> ImageSource:
    from ganeval.images import remote, shards
    from ganeval.images.deep import declare

    def open_file(path: Path) -> Images:
        named = as_spec(path)
        assert named is not None
        images = _open_files(named, options)
        declare(images, options.value_range)
        return images

    def open_pattern(pattern: str) -> Images:
        return shards.open_shards(pattern, lambda path: _open_shard(path, options))

    return remote.open_remote(spec, options, open_file, open_pattern)


def _open_shard(path: Path, options: OpenOptions) -> EncodedFiles | None:
    from ganeval.images.indexed import EncodedFiles

    spec = as_spec(path)
    images = _open_files(spec, options) if isinstance(spec, specs.Archive | specs.TableFile) else None
    return images if isinstance(images, EncodedFiles) else None


def _open_object(spec: Any, options: OpenOptions) -> ImageSource:
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    from ganeval.images import array, dataset, generated, stream
    from ganeval.images.indexed import IndexedSource

    name, column, label = _name_of(spec), options.image_column, options.label_column
    if (kind := kind_of(spec)) is not None:
        return _registered(name, kind.open(spec, options))
    if isinstance(spec, (np.ndarray, torch.Tensor)):
        return IndexedSource(name, array.open_array(spec, options.value_range))
    if isinstance(spec, (DataLoader, IterableDataset)):
        return stream.StreamSource(name, spec, options.value_range, column, label)
    if isinstance(spec, torch.nn.Module) or (callable(spec) and not hasattr(spec, "__getitem__")):
        return generated.GeneratedSource(name, spec, options)
    if isinstance(spec, Mapping):
        keys = ", ".join(repr(key) for key in list(spec)[:5])
        raise InputError(
            f"Cannot read images from a {name}; expected one of its values ({keys}), or a list of its images."
        )
    if hasattr(spec, "__getitem__") and hasattr(spec, "__len__") and dataset.holds_single_images(spec, column):
        return IndexedSource(name, dataset.DatasetImages(spec, options.value_range, column, label))
    if isinstance(spec, Iterable):
        return stream.StreamSource(name, spec, options.value_range, column, label)
    raise InputError(
        f"Cannot read images from a {name}; expected a path, a tensor, an array, a Dataset, a DataLoader, "
        "an iterable of images, or a callable z -> images."
    )


def _registered(name: str, opened: ImageSource | Images) -> ImageSource:
    """The source that the opener of a registered kind has returned."""
    from ganeval.images.indexed import IndexedSource

    if isinstance(opened, Images):
        return IndexedSource(name, opened)
    if not isinstance(opened, ImageSource):
        kind = type(opened).__name__
        raise InputError(f"{name}: the opener of its kind returned a {kind}; expected an ImageSource or Images.")
    return opened


def _name_of(spec: Any) -> str:
    name = getattr(spec, "__name__", type(spec).__name__)
    shape = getattr(spec, "shape", None)
    return f"{name} {'x'.join(map(str, shape))}" if isinstance(shape, tuple) else str(name)
