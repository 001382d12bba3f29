"""`python -m mossrt` is the command `mossrt`."""

from mossrt.cli import main

if __name__ == "__main__":
    main()
