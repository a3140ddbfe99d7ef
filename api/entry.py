"""What the `cashflow` command calls: backups by themselves, everything else through the whole shell.

A backup runs in small containers, where the engine and the service would take more memory than it does itself.
"""

import sys


def main() -> None:
    """Runs the command in sys.argv."""
    if sys.argv[1:2] == ["backup"]:
        from api.shell_backup import backup

        backup(sys.argv[2:], prog_name="cashflow backup")
    else:
        from api.shell import main as shell

        shell()
