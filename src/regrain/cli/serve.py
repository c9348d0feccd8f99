"""`serve`: a folder over HTTP until Ctrl-C; one line says the address."""

import argparse
import os
import socket

from regrain.cli.commands import report
from regrain.cli.terminal import display_name
from regrain.errors import UsageError, reason
from regrain.options import check_arguments
from regrain.places import check_installed

__all__ = ["serve"]

_CONNECTIONS = 256
_FAREWELL = 2
"""Seconds that requests may take after Ctrl-C."""


def serve(options: argparse.Namespace) -> None:
    """Show a folder until a signal ends it; raises UsageError for no folder, or an address that cannot be had."""
    check_installed("serve", ("starlette", "uvicorn"), "serve")
    import uvicorn

    from regrain.server.pictures import Limits
    from regrain.server.site import site

    if not os.path.isdir(options.input):
        raise UsageError(f"{display_name(options.input)} is no folder; allowed is the folder to serve")
    check_arguments(max_pixels=options.max_pixels, max_memory=options.max_memory)
    threads = options.threads or max(1, _cores() // options.decodes)
    limits = Limits(options.decodes, options.timeout, options.max_pixels, options.max_memory, threads)
    with _listen(options.host, options.port) as listener:
        config = uvicorn.Config(
            site(options.input, limits, options.host),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_FAREWELL,
        )
        port = listener.getsockname()[1]
        address = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{port}/"
        facts = {"address": address, "folder": os.path.abspath(options.input)}
        report(options, facts, f"{display_name(options.input)} is at {address} until Ctrl-C")
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the first address of a host that can be had; raises UsageError where there is none."""
    why: Exception = OSError("it has no address")
    try:
        if not host:
            raise OSError("a host has a name or an address")
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return socket.create_server(address[:2], family=family)
            except OSError as error:
                why = error
    except (OSError, UnicodeError) as error:
        why = error
    raise UsageError(f"cannot listen at {host}, port {port}: {reason(why)}; choose another --host or --port")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
