"""`python -m restorer` is the `restore` command."""

from restorer.cli import main

if __name__ == "__main__":
    main()
