"""Which gateway the command line asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from console.gateway.protocol import Gateway, GatewayError

if TYPE_CHECKING:
    from console.gateway.attached import AttachedGateway
    from console.gateway.connect_http import ConnectPlace
    from console.options import ConsoleOptions


def open_gateway(options: ConsoleOptions) -> Gateway:
    """The cluster that the options name, its records read and masked as the user's files say. Nothing is connected yet.

    Raises:
        GatewayError: the options ask for what is not there.
    """
    from pathlib import Path

    from console.gateway.readable import ReadableGateway
    from console.values.serdes import SerdeError
    from console.values.values import Values
    from themes.loader import user_theme_dir

    try:
        values = Values(options.values, folder=Path(user_theme_dir()).parent)
    except (SerdeError, ValueError) as error:
        raise GatewayError(str(error)) from None
    gateway = _open(options)
    gateway.connect_places = _connect_places(options)
    if options.context is not None:
        gateway.is_of(options.context)
    return ReadableGateway(gateway, values)  # type: ignore[return-value]


def _connect_places(options: ConsoleOptions) -> Callable[[], Mapping[str, ConnectPlace]]:
    """Where workers of Connect are: where the options say, or where ``kconsole connect run`` says that it runs some.

    Raises:
        GatewayError: what the options say is no URL.
    """
    from console.connect_places import connect_directory, known_places
    from console.gateway.connect_http import place_of

    if options.connect_url:
        try:
            place = place_of(options.connect_url)
        except ValueError as error:
            raise GatewayError(f"--connect-url: {error}") from None
        found = {"connect": place}
        return lambda: found
    directory = connect_directory(None if options.control_socket else options.bootstrap_servers, options.data_dir)
    return lambda: known_places(directory)


def _open(options: ConsoleOptions) -> AttachedGateway:
    """The embedded cluster's if a control socket is given, else an attached one's. Nothing is connected yet.

    Raises:
        GatewayError: the options ask for what is not there.
    """
    from engine.supervisor.observer import Pace

    # Of several that are only looked at side by side each is asked less often.
    pace = Pace(fast_ms=2_000, slow_ms=60_000, configs_ms=600_000) if options.watching else None
    if options.control_socket is not None:
        from console.gateway.embedded import EmbeddedGateway

        return EmbeddedGateway(options.control_socket, read_only=options.read_only, pace=pace)
    if options.bootstrap_servers is None:
        raise GatewayError("neither a cluster to attach to nor a control socket was given")
    from console.gateway.attached import AttachedGateway
    from console.gateway.zookeeper_options import (
        ZooKeeperOptionsError,
        without_zookeeper_properties,
        zookeeper_config,
    )
    from engine.client.security.properties import SecurityError

    try:
        return AttachedGateway(
            options.bootstrap_servers,
            read_only=options.read_only,
            client_config=without_zookeeper_properties(options.command_config),
            pace=pace,
            # Of several side by side their ensembles are not looked at.
            zookeeper=None if options.watching else zookeeper_config(options.command_config),
        )
    except (SecurityError, ZooKeeperOptionsError) as error:
        raise GatewayError(str(error)) from None
