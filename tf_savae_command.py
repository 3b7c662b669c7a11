"""The program `tf-savae`: handles help and argument errors before TensorFlow is imported."""

import sys


def main():
    """Runs one of the commands of `tf_savae.commands.catalogue` with the program's arguments."""
    sys.tf_savae_lazy = True  # --help needs no TensorFlow.
    from tf_savae.commands.program import main as run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
