"""``python -m ganeval`` is the command ``ganeval``."""

from ganeval.cli.main import run

if __name__ == "__main__":
    run()
