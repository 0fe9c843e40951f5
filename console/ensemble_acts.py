"""Acts on the ZooKeeper ensemble of an embedded cluster: its servers, and the sessions of brokers."""

from __future__ import annotations

from collections.abc import Mapping

from console.acts import Need
from console.acts_part import ActsPart
from console.viewmodel.zookeeper import loss_words
from engine.supervisor.zookeeper_snapshot import ZooKeeperServer

_DOING: Mapping[str, tuple[str, str]] = {
    "kill": ("killing", "killed"),
    "start": ("starting", "started"),
    "pause": ("pausing", "paused"),
    "resume": ("resuming", "resumed"),
}


class EnsembleActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def server(self, act: str, server: ZooKeeperServer) -> None:
        """kill, start, pause, resume; what takes a server away is asked first."""
        if self._acts.refused(Need.ENSEMBLE):
            return
        picture = self._app.picture()
        state = picture.zookeeper if picture is not None else None
        if server.server_id is None or state is None:
            self._app.flash(f"{server.address} is not the cluster's own server", "under_replicated")
            return
        number = server.server_id
        who = f"ZooKeeper server {number}"
        # Kafka's tools have none for it.
        command = f"kconsole zookeeper {act} {number}"
        doing, done = _DOING[act]

        async def call() -> str:
            await self._app.gateway.zookeeper_servers(act, [number])
            return f"{who} {done}"

        self._acts.asking(
            f"{act}_zookeeper",
            f"{act.capitalize()} {who}?",
            loss_words(state, server) if act in ("kill", "pause") else "",
            command,
            act.capitalize(),
            lambda: self._acts.perform(f"{act} {who}", command, call, doing=f"{doing} {who}"),
        )

    def expire(self, broker_id: int, session: str, is_controller: bool) -> None:
        """Have ZooKeeper expire a broker's session; always asked first."""
        if self._acts.refused(Need.PROCESS):
            return
        command = f"kconsole zookeeper expire {broker_id}"
        what = f"expire session {session} of broker {broker_id}"

        async def call() -> str:
            await self._app.gateway.expire_session(broker_id)
            return f"session {session} of broker {broker_id} is expired"

        consequence = (
            "Its ephemeral znodes go: the controller fences it and moves its leaders; it comes back with a new session."
        )
        if is_controller:
            consequence = "It is the controller: another one is elected. " + consequence
        self._acts.asking(
            "expire_session",
            f"Expire the session of broker {broker_id}?",
            consequence,
            command,
            "Expire",
            lambda: self._acts.perform(what, command, call, doing=what, hint="; 4 shows what follows"),
        )
