"""``ganeval sample``: images of a generator or a renderer, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganeval.cli import output as out
from ganeval.cli.options import Command, declared, generator_options, option, output_options
from ganeval.cli.places import Output, Source
from ganeval.errors import InputError, number_of


@click.command(cls=Command)
@click.argument("generator", type=Source())
@option(
    "-n",
    "--num-samples",
    type=click.IntRange(min=1),
    help="How many images.  [default: as many as --prompts has, else required]",
)
@option("-o", "--output", type=Output(either=True), required=True, help="A folder, or a file: .zip or .npz.")
@declared("seed", help="Seed of the images. Image number i depends only on the seed and on i.")
@generator_options
@declared("caption_column", "value_range", "device", "data_root", "download")
@option("--overwrite", is_flag=True, help="Replace the images of another run.")
@option("--batch-size", type=click.IntRange(min=1), default=64, help="Images drawn at once; changes nothing in them.")
@option("--workers", type=click.IntRange(min=0), default=0, help="Processes that draw; changes nothing in them.")
@output_options
def sample(generator: str, *, output: Path, num_samples: int | None, device: str, fmt: str, **options: Any) -> None:
    """Write the images of GENERATOR as lossless PNG, 000000.png and so on, or as one .zip or .npz (arr_0, NHWC).

    A folder of an earlier run of the same command that did not finish is completed. With --prompts, a .txt file next to
    each image has its prompt, where `ganeval clip-score` finds it.

    \b
    Rendered images: dataset:shapes, dataset:shapes-plain, dataset:shapes-striped, each optionally with :SIZE and
    @SEED. Plain and striped are the same scenes, image by image.

    \b
    Generators: gen:package.module:callable; gen:FILE, a checkpoint of `ganeval train` or TorchScript. A translation
    takes its source in parentheses, in quotes: 'gen:FILE(dataset:shapes-plain:64)'.

    \b
    Examples:
      ganeval sample dataset:shapes -n 1000 -o shapes/
      ganeval sample dataset:shapes-striped:64@1 -n 1000 -o striped.zip
      ganeval sample gen:run/generator.safetensors -n 1000 -o fake/
      ganeval sample gen:package.module:text_to_image --prompts prompts.txt -o images/
    """
    from ganeval.engine.inputs import require_effect
    from ganeval.features.devices import choose_device
    from ganeval.generators.load import open_source
    from ganeval.images.grammar import parse_spec
    from ganeval.images.options import OpenOptions
    from ganeval.images.save import save_images
    from ganeval.images.specs import Generator, Invalid, Rendered, Translation

    named = parse_spec(generator)
    if not isinstance(named, Rendered | Generator | Translation | Invalid):
        raise InputError(
            f"{generator!r} is not a generator or renderer. Expected for example dataset:shapes, "
            "dataset:shapes-striped, gen:dcgan-cifar10 or gen:package.module:callable."
        )
    writing = {name: options.pop(name) for name in ("overwrite", "batch_size", "workers")}
    if num_samples is None and options["prompts"] is None:
        raise InputError("say how many images to write: -n N (--num-samples).")
    opening = OpenOptions(num_samples=num_samples, device=choose_device(device), **options)
    require_effect([named], opening)
    source = open_source(named, options=opening)
    source.check()  # a generator that does not work writes nothing, and replaces nothing
    n = source.length if num_samples is None else num_samples
    assert n is not None
    bar = out.progress("writing", n)
    try:
        saved = save_images(source, output, n=n, progress=bar.update, **writing)
    finally:
        bar.close()
    if saved.others:
        names = ", ".join(saved.others[:3]) + (", ..." if len(saved.others) > 3 else "")
        out.warning(f"{output} also holds files of another origin: {names}.")
    if source.prompts() is not None and output.suffix.lower() == ".npz":
        out.note(f"{output} holds no prompts. A folder or a .zip does.")
    if fmt == "json":
        counts = {"n": n, "written": saved.written, "kept": saved.kept}
        out.document({"sample": {"output": str(output), **counts, "source": source.describe()}})
        return
    kept = f", {saved.kept} of them existing before" if saved.kept else ""
    out.say(f"{number_of(n, 'image')} of {generator} in {output}{kept}")
