"""The command line. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import shlex
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer

from exme.tasks import UserError, one_line

from . import by_hand, compare, looking, making, preparing, searching

app = typer.Typer(
    name="exme",
    help="Search the best merge of a base model's fine-tunes, without training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# Typer carries a click of its own and names only some of its exceptions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_SMALLER = "use a smaller dtype or batch_size, or a larger machine; the same command resumes"
_LONG = 5_000
INTERRUPTED = 130  # exit code after Ctrl-C
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
    by_hand.score,
    looking.status,
    looking.report,
    looking.table,
    looking.dashboard,
    making.export,
    making.materialise,
    by_hand.build,
    compare.compare,
    preparing.suites,
    preparing.verify,
    preparing.doctor,
):
    app.command()(_command)


def main() -> None:
    """Entry point of the console command: errors of the user's end in one line and exit code 2."""
    sys.exit(_run(lambda: app(standalone_mode=False)))


def _run(command: Callable[[], object]) -> int:
    from exme.search.running import Interrupts, was_asked  # noqa: PLC0415

    Interrupts(lambda line: typer.echo(line, err=True)).install()
    try:
        return _carried_out(command)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except Exception:
        if not was_asked():
            raise
        return _stopped()  # (giving back what was in hand met a database that is away)


def _stopped() -> int:
    from exme.search.storage import hide_secrets  # noqa: PLC0415

    command = hide_secrets(shlex.join(["exme", *sys.argv[1:]]))
    typer.echo(f"\nStopped. Nothing that was finished is lost; `{command}` resumes.", err=True)
    return INTERRUPTED


def _carried_out(command: Callable[[], object]) -> int:  # noqa: PLR0911  (an error each)
    try:
        code = command()
    except UserError as error:
        return _refuse(str(error))
    except _UsageError as error:
        return _refuse_usage(error)
    except OSError as error:
        where = error.filename or "what was to be written"
        if error.errno in _DISK_FULL:
            return _refuse(
                f"{where}: {error.strerror}; free some space. Nothing that was finished is lost; "
                f"the same command resumes"
            )
        if not error.filename:  # not about a file that somebody named
            raise
        return _refuse(f"{where}: {error.strerror}")
    except MemoryError as error:
        return _refuse(f"out of memory ({str(error) or 'the machine has no more'}); {_SMALLER}")
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        return _refuse(f"out of memory ({str(error).splitlines()[0]}); {_SMALLER}")
    if code == INTERRUPTED:
        raise KeyboardInterrupt  # (which typer has made an exit code of)
    return code if isinstance(code, int) else 0


def _refuse(reason: str) -> int:
    from exme.search.storage import hide_secrets  # noqa: PLC0415

    if len(reason) > 2 * _LONG:  # a file of a stranger's may hold names of any length
        reason = f"{reason[:_LONG]} [...] {reason[-_LONG:]}"
    typer.echo(f"exme: {one_line(hide_secrets(reason))}", err=True)
    return 2


def _refuse_usage(error: Any) -> int:
    """What was wrong with the command line, in one line; help where nothing was asked for."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 2
    command = error.ctx.command_path if error.ctx is not None else "exme"
    return _refuse(f"{error.format_message().rstrip('.')}; `{command} --help` lists what there is")
