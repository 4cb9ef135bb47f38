"""The server of the page: checks, then a single process that by default accepts only local connections."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.explore.explorer import Explorer
from entropic_ae.explore.widgets import ASIDE
from entropic_ae.storage.run_folder import PREFIX

__all__ = ["leave", "listen", "serve"]

# the browser blocks every request to another server; Vue compiles templates with eval
_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path fill="#3b5bdb" d="M0 0h4v4H0z"/>'
    '<path fill="#fff" d="M1 1h1v1H1zM2 2h1v1H2z"/></svg>'
)


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    device: str = "auto",
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the page of a run until Ctrl-C.

    The network is not used: a data set on the Hub is read from its cache or counts as missing, unless
    HF_HUB_OFFLINE=0 is set.

    Arguments:
        folder: the run folder.
        host: an address or a name of this machine. Anyone who can reach it can use the page.
        port: from 1 to 65535.
        device: auto, cpu, cuda or mps.
        tell: called with messages on the progress, and with the address.

    Raises: InputError if the extra is not installed, the port is in use or the folder is not a run.

    >>> serve("nowhere", port=0)
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: port must be from 1 to 65535, got 0; give another --port.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"port must be from 1 to 65535, got {port}; give another --port.")
    if find_spec("nicegui") is None:
        raise InputError("explore needs NiceGUI, which is not installed; pip install 'entropic-ae[explore]'.")
    if str(folder).startswith(PREFIX):
        raise InputError(f"explore does not use the network, got {folder}; download it with entropic-ae pull.")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the Hub's client is imported
    from entropic_ae import runs

    with listen(host, port) as listening:
        run = runs.load(folder, device=device)
        tell(f"{folder}: reading the run's images.")
        explorer = Explorer(run)
        if explorer.missing:
            tell(f"Functions that need the run's images are unavailable: {explorer.missing}")
        if not _is_local(host):
            tell(f"The page is open to everyone who can reach {host}.")
        name = f"[{host}]" if ":" in host else host
        tell(f"Open http://{name}:{port} in a browser; Ctrl-C ends it.")
        _run(_application(explorer, host), listening)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address of this machine.

    Raises: InputError if the port is in use, or the address does not belong to this machine.

    >>> with listen("127.0.0.1", 0) as listening:  # 0: any free port
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host} is not an address of this machine ({error.strerror}).") from None
    try:
        if os.name == "posix":  # a port that was just released counts as free
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} of {host} is in use; give another --port.") from None
        raise InputError(f"cannot listen on port {port} of {host} ({error.strerror}).") from None
    return listening


def leave() -> None:
    """End the process at once if work is still running, such as the training of a density; else return.

    PyTorch aborts with a message if the interpreter ends while its threads run. No file can be left incomplete,
    since all are written atomically.

    >>> leave()
    """
    if any(thread.name == ASIDE for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _application(explorer: Explorer, host: str) -> Any:
    """Return the web application, with neither documentation pages nor remote access."""
    from fastapi import FastAPI
    from nicegui import ui
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from entropic_ae.explore.page import build

    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    if _is_local(host):  # against DNS rebinding: another site could read this page by a name for 127.0.0.1
        application.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOCAL_NAMES, host])
    application.add_middleware(_Policy)  # the last one added is the outermost
    ui.run_with(
        application,
        root=lambda: build(explorer),
        title=f"{explorer.title} · entropic-ae",
        favicon=_ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        on_air=None,
        show_welcome_message=False,
    )
    return application


def _run(application: Any, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(application, log_level="warning", ws="wsproto", timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # Ctrl-C is the way to stop the server
        uvicorn.Server(config).run(sockets=[listening])


class _Policy:
    """Add a content security policy to every answer (ASGI)."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self.app(scope, receive, send_on)
