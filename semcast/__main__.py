"""`python -m semcast`."""

from semcast.cli import main

if __name__ == "__main__":
    main()
