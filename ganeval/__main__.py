"""The program ``ganeval``, also as ``python -m ganeval``: nothing but a failed gate ends it with exit code 1."""

import os
import sys

if __name__ == "__main__" and sys.path[:1] in ([""], [os.getcwd()]):
    # Python looks for modules in the working directory first: one in the folder of a document would be imported.
    del sys.path[0]


def run() -> None:
    """Run the command line of this process; even an installation that cannot be imported ends with exit code 70."""
    try:
        from ganeval.cli.main import main
        from ganeval.cli.streams import open_descriptors

        open_descriptors()
        code = main()
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # whatever it is, Python itself would end with 1
        try:
            import traceback

            traceback.print_exc()
        except BaseException:  # nobody reads stderr
            code = 70
        code = 70
    sys.exit(code)


if __name__ == "__main__":
    run()
