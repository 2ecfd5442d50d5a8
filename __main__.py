"""`convc` and `python -m convc`: the command line, with the zoo wired in."""

from __future__ import annotations


def main() -> None:
    import gc
    import sys

    _open_streams()
    gc.disable()  # nothing that is imported is garbage: a tenth of a short command would go into looking for it
    try:
        from .compiler.commands.cli import main as run
        from .models import ZOO
    except KeyboardInterrupt:
        sys.exit(130)
    gc.freeze()
    gc.enable()
    run(ZOO)


def _open_streams() -> None:
    """In place of standard streams that are closed, or the next file that is opened would be one: nothing to read, nowhere to write
    results, which is then said, and nobody who hears of the rest.
    """
    import os
    import sys

    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            found = os.open(os.devnull, flags)
            if found != number:
                os.dup2(found, number)
                os.close(found)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


if __name__ == "__main__":
    main()
