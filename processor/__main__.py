"""`python -m processor` is `axle-processor`."""

from processor.cli import main

if __name__ == "__main__":
    main()
