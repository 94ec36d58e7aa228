"""`python -m pixelwise` is the command line: for torchrun, which takes a module."""

from pixelwise.cli.app import main

if __name__ == "__main__":
    main()
