"""`python -m app` is the command `live-memory`."""

from app.cli.main import run

if __name__ == "__main__":
    run()
