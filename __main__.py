"""`convc` and `python -m convc`: the command line, with the zoo wired in."""

from __future__ import annotations


def main() -> None:
    import sys

    try:
        from .compiler.commands.cli import main as run
        from .models import ZOO
    except KeyboardInterrupt:
        sys.exit(130)
    run(ZOO)


if __name__ == "__main__":
    main()
