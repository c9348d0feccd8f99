"""`python -m regrain` is the command `regrain`."""

from regrain.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
