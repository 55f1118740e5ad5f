"""The command ``ganeval``: imports a command when it is used, and turns errors into one message and an exit code.

Exit codes: 0 measured; 1 a gate measured and failed; 2 usage, configuration, input or weights; 3 could not be judged;
70 internal error; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from importlib import import_module

import click
from click.shell_completion import shell_complete

import ganeval
from ganeval.cli import output, streams
from ganeval.cli.variables import COMPLETION, warn_of_unknown
from ganeval.errors import GanEvalError, GanEvalWarning, did_you_mean
from ganeval.metrics.registry import metric_commands, summary_of
from ganeval.parsing.variables import rank_and_size

_METRIC = "ganeval.cli.metric"
_FIRST = {
    "demo": ("ganeval.cli.demo", "Run the whole pipeline offline on what ships with ganeval."),
    "eval": (_METRIC, "Every metric that applies, from one pass over two sets of images."),
}
_LAST = {
    "paired": ("ganeval.cli.paired", "SSIM, PSNR, L1, L2, MS-SSIM, LPIPS, CLIP-I and DINO-I of pairs of images."),
    "clip-score": ("ganeval.cli.clip_score", "How well images match their captions, under CLIP."),
    "diversity": ("ganeval.cli.diversity", "Perceptual distance between several outputs of one input."),
    "scores": ("ganeval.cli.scores", "Numbers per image that another program made: mean or proportion, error bar."),
    "gate": (
        "ganeval.cli.gate",
        "Check a run by the rules of ganeval.toml: passed, failed, or could not be judged.",
    ),
    "compare": ("ganeval.cli.compare", "Which numbers of two runs differ beyond noise, and which are not comparable."),
    "report": ("ganeval.cli.report", "Write an HTML page of runs that were measured or trained before."),
    "export": ("ganeval.cli.export", "Write results as CSV, LaTeX, Markdown, or for a model card."),
    "stats": ("ganeval.cli.stats", "Build, show and merge reference statistics."),
    "check": ("ganeval.cli.check", "Find faults in sets of images before any compute is spent."),
    "sample": ("ganeval.cli.sample", "Write the images of a generator or a renderer to a folder."),
    "train": ("ganeval.cli.train", "Train a reference generator: dcgan or cyclegan."),
    "weights": ("ganeval.cli.weights", "List, fetch, verify, import and export the weights of networks."),
    "cache": ("ganeval.cli.cache", "List and clear the cached features of images that were measured before."),
    "doctor": ("ganeval.cli.doctor", "Check installation, devices, weights and numerics of this machine."),
    "cite": ("ganeval.cli.cite", "Print the BibTeX entry of a metric."),
    "schema": ("ganeval.cli.schema", "Print the JSON Schema of a result, or of ganeval.toml."),
    "completion": ("ganeval.cli.completion", "Print the script that completes commands in bash, zsh or fish."),
}


def commands() -> dict[str, tuple[str, str]]:
    """By name, the module of every command and what it does. The registry has those of the metrics."""
    return _FIRST | {name: (_METRIC, f"{summary_of(name)}.") for name in metric_commands()} | _LAST


OK, FAILED, ERROR, UNDECIDED, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 70, 130


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = commands()
        command: click.Command | None = None
        if cmd_name in known:
            module = known[cmd_name][0]
            command = getattr(import_module(module), cmd_name if module == _METRIC else cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in (known := commands()) and not args[0].startswith("-"):
            hint = did_you_mean(args[0], known) or f" Available: {', '.join(known)}."
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in commands().items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(ganeval.__version__, prog_name="ganeval")
def ganeval_command() -> None:
    """How good is this image generator, is it better than the last one, and how sure are we?

    \b
    Try, without any download:
      ganeval demo
      ganeval fid dataset:shapes-plain dataset:shapes-striped --num-samples 1000 --protocol compact
      ganeval fid stats:cifar10-test my-images/ --protocol compact
    With Inception weights:
      ganeval fid real/ fake/
    """
    warn_of_unknown(ganeval_command)


def _shared(arguments: list[str]) -> bool:
    """Whether all ranks of torchrun share the work of this command; others run on the first rank alone."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    return (
        names[:2] == ["stats", "build"]
        or names[:1] in (["paired"], ["diversity"])
        or commands().get("".join(names[:1]), ("",))[0] == _METRIC
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return the exit code; never raises."""
    if asked := os.environ.get(COMPLETION):
        return shell_complete(ganeval_command, {}, "ganeval", COMPLETION, asked)
    arguments = sys.argv[1:] if arguments is None else arguments
    with streams.closed_ones_are_silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore", GanEvalWarning)  # commands print the warnings of their results themselves
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    stdout = sys.stdout
    try:
        output.begin(arguments)
        if rank_and_size()[1] > 1 and not _shared(arguments):
            if not output.speaks():
                return OK
            from ganeval.distributed import stay_alone

            stay_alone()
        code = ganeval_command.main(arguments, prog_name="ganeval", standalone_mode=False)
        try:
            sys.stdout.flush()
        except GanEvalError as error:
            return output.failure(error.kind, str(error), FAILED if code == FAILED else ERROR)
        return code if isinstance(code, int) else OK
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ERROR
    except SystemExit as exit_:
        if sys.stdout is not stdout:  # click silences stdout and exits when its reader has gone
            return OK
        message = f"code that the run called raised SystemExit({exit_.code!r}). Remove the exit from that code."
        return output.failure("input", message, ERROR)
    except click.ClickException as error:
        message = error.format_message()
        if isinstance(error, click.UsageError):
            message += "" if message.endswith((".", "?", "!")) else "."
            message += f" Try '{error.ctx.command_path} --help'." if error.ctx else ""
        return output.failure("usage", message, ERROR)
    except GanEvalError as error:
        return output.failure(error.kind, str(error), ERROR)
    except (click.Abort, KeyboardInterrupt):
        return output.failure("interrupted", "interrupted", INTERRUPTED)
    except BaseException as error:  # every failure ends in an exit code, and with --json in a document
        if isinstance(error, MemoryError) or any(one.__name__ == "OutOfMemoryError" for one in type(error).__mro__):
            return output.failure("memory", _out_of_memory(error), ERROR)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            return output.failure("output", f"cannot write: {error.strerror}. Make room, and try again.", ERROR)
        traceback.print_exc(file=sys.stderr)
        message = (
            f"internal error: {error!r}. This is a bug in ganeval, not in your input: please report it in the "
            "project's issue tracker, with the lines above and the output of `ganeval doctor`"
        )
        return output.failure("internal", message, INTERNAL)


def _out_of_memory(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["none is left"]
    return (
        f"not enough memory: {lines[0].split('. ')[0]}. Use smaller batches (--batch-size), keep fewer features in "
        "memory (--feature-memory), or a device with more memory (--device cpu)."
    )
