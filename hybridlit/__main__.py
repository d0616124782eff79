"""Makes `python -m hybridlit` the command line."""

from hybridlit.cli import main

if __name__ == "__main__":
    main()
