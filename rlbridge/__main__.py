"""``python -m rlbridge`` is the ``rlbridge`` command."""

from rlbridge.cli import main

main()
