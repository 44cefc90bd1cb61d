"""`python -m unetkit` is the command."""

from unetkit.cli import main

main()
