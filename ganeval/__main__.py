"""``python -m ganeval`` is the command ``ganeval``."""

import os
import sys

if __name__ == "__main__":
    # Python looks for modules in the working directory first here: one that lies beside a document would be imported.
    if sys.path[:1] in ([""], [os.getcwd()]):
        del sys.path[0]
    from ganeval.cli.main import run

    run()
