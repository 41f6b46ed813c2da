"""`python -m restorer` is the `restore` command."""

from restorer.cli import program

if __name__ == "__main__":
    program()
