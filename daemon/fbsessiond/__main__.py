"""`python -m fbsessiond`."""

from fbsessiond.cli import main

if __name__ == "__main__":
    main()
