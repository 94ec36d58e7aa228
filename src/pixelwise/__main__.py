"""The command line as a module, `python -m pixelwise`: torchrun starts modules."""

from pixelwise.cli import main

if __name__ == "__main__":
    main()
