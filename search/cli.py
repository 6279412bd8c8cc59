"""The command line. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated

import typer

from exme.tasks.errors import UserError

from .commands import looking, making, preparing, searching

app = typer.Typer(
    name="exme",
    help="Search the best merge of a base model's fine-tunes, without training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# Typer carries a click of its own and names only some of its exceptions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"exme {metadata.version('exme')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for _command in (
    preparing.init,
    searching.search,
    searching.worker,
    looking.status,
    looking.report,
    looking.table,
    looking.dashboard,
    making.export,
    making.materialise,
    preparing.suites,
    preparing.verify,
    preparing.doctor,
):
    app.command()(_command)


def main() -> None:
    """Entry point of the console command: errors of the user's end in one line and exit code 2."""
    sys.exit(_run(lambda: app(standalone_mode=False)))


def _run(command: Callable[[], object]) -> int:
    from .workers import Interrupts  # noqa: PLC0415

    Interrupts(lambda line: typer.echo(line, err=True)).install()
    try:
        code = command()
    except UserError as error:
        typer.echo(f"exme: {error}", err=True)
        return 2
    except _UsageError as error:
        error.show()  # type: ignore[attr-defined]  # see _UsageError
        return 2
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        where = error.filename or "what was to be written"
        typer.echo(
            f"exme: {where}: {error.strerror}; free some space. Nothing that was finished is lost; "
            f"the same command resumes",
            err=True,
        )
        return 2
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(
            "\nStopped. Nothing that was finished is lost; the same command resumes.", err=True
        )
        return 130
    return code if isinstance(code, int) else 0
