"""`unetkit`, and `python -m unetkit`, are the command."""

import signal


def main() -> None:
    """Run the command; Ctrl-C while it is imported ends the process as the system does it, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from unetkit.cli import main as command

    command()


if __name__ == "__main__":
    main()
