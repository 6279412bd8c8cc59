"""The dashboard: optuna-dashboard on a study's storage, on this machine alone unless told otherwise."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import webbrowser
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from exme.search.storage import hide_secrets
from exme.tasks import UserError

# Ports that are tried, from the one asked for upwards.
PORTS_TRIED = 20

_SQLITE = "sqlite:///"


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per request, so that a slow picture holds up no other."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
        """Requests are not worth a line each."""


def open_server(
    storage_url: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    artifacts: Path | None = None,
) -> WSGIServer:
    """A server of the dashboard, bound and not yet serving; its port is `server_port`.

    Args:
        storage_url: URL of an Optuna storage that exists.
        host: address to listen on.
        port: port to listen on; the next free one when it is taken; 0 for any.
        artifacts: folder of the trials' artifacts.

    Raises:
        UserError: there is no such storage, the address is not this machine's, or no port is free.
    """
    if storage_url.startswith(_SQLITE):
        file = Path(storage_url.removeprefix(_SQLITE).partition("?")[0])
        if not file.is_file():
            raise UserError(f"{file}: no study there yet; run `exme search` first")
    # Slow to import, and needed by this command only.
    from optuna_dashboard import wsgi  # noqa: PLC0415

    store = None
    if artifacts is not None:
        from exme.search.storage import artifact_store  # noqa: PLC0415

        store = artifact_store(artifacts)
    try:
        app = wsgi(storage_url, artifact_store=store)
    except Exception as error:  # noqa: BLE001  (each database has errors of its own)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        said = hide_secrets(f"storage {storage_url} cannot be opened ({reason})")
        raise UserError(said) from None
    server = _Server6 if ":" in host else _Server
    ports = range(port, min(port + PORTS_TRIED, 65536)) if port else range(1)
    for candidate in ports:
        try:
            return make_server(host, candidate, app, server_class=server, handler_class=_Handler)
        except (OSError, OverflowError, ValueError) as error:  # (ValueError: no name of a host)
            if getattr(error, "errno", None) != errno.EADDRINUSE:
                raise UserError(
                    f"dashboard: cannot listen on {host}, port {candidate} ({error}); give another "
                    f"address with --host or another port with --port"
                ) from None
    raise UserError(
        f"dashboard: ports {ports[0]} to {ports[-1]} are all taken; give another with --port"
    )


def serve(
    storage_url: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    artifacts: Path | None = None,
) -> None:
    """Show a study in the browser until Ctrl-C.

    Args:
        storage_url: URL of the study's Optuna storage.
        host: address to listen on; any but the loopback lets others in, without a login.
        port: port to listen on; the next free one when it is taken; 0 for any.
        open_browser: open the page in a browser here.
        artifacts: folder of the trials' artifacts.

    Raises:
        UserError: as `open_server`.
    """
    with open_server(storage_url, host, port, artifacts) as server:
        if port not in (0, server.server_port):
            print(f"Port {port} is taken, this is on {server.server_port}.")
        if not _is_loopback(host):
            print(
                f"Anyone who can reach {host} can see, change and delete the studies: there is no "
                f"login. `--host 127.0.0.1` keeps it to this machine.",
                file=sys.stderr,
            )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{server.server_port}/"
        print(f"Dashboard: {address}  (Ctrl-C ends it)", flush=True)
        if open_browser and _has_screen():
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nDashboard closed.")


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_screen() -> bool:
    """Whether a browser can show a page; without a screen Python starts one in the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in screens)
