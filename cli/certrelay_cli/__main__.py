"""The program. Its parts take a while to load, in which Ctrl-C ends it as quietly as later."""

from certrelay_cli import exits


def run() -> int:
    """Run the command; returns its exit code."""
    try:
        from certrelay_cli.main import main

        return main()
    except KeyboardInterrupt:
        return exits.INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(run())
