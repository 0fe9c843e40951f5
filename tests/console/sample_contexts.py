"""Contexts of a user who has three clusters and kconsole's own: one is well, one lost a broker, one is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sample_snapshots import kill_in, sample_cluster
from scripted import ATTACHED, FrozenClock, ScriptedGateway

from console.contexts import Context, ContextError, ContextFile, Contexts
from console.gateway import Gateway, GatewayError
from engine.client.security.secret import ClientProperties
from engine.supervisor.snapshot import Source

PROPERTIES = ClientProperties({"security.protocol": "SASL_SSL", "sasl.password": "s3cret"})
CONTEXTS = (
    Context("prod", "kafka-1:9092,kafka-2:9092", "red", True, properties=PROPERTIES),
    Context("staging", "staging:9092", "yellow"),
    Context("old-dc", "10.0.0.9:9092", "blue"),
    Context("embedded"),
)


class SampleContexts(ContextFile):
    """No file."""

    def __init__(self) -> None:
        super().__init__(Path("contexts.yaml"))
        self.contexts = Contexts("prod", {each.name: each for each in CONTEXTS})

    wrong = ""

    def read(self) -> Contexts:
        if self.wrong:
            raise ContextError(self.wrong)
        return self.contexts


def sample_opener(
    clock: FrozenClock, opened: dict[str, ScriptedGateway] | None = None
) -> Callable[[Context, bool], Gateway]:
    """Gateways of those contexts; ``opened`` gets those that are not only looked at."""

    def open_context(context: Context, watching: bool) -> Gateway:
        if context.name == "embedded":
            raise ContextError("it does not run: start it with `kconsole up`")
        if context.name == "old-dc":
            raise GatewayError("no connection to 10.0.0.9:9092 within 2000 ms")
        snapshot = sample_cluster(clock.at_ms, Source.ATTACHED)
        if context.name == "staging":
            snapshot = kill_in(snapshot, 2)
        because = f"the context {context.name} is read-only"
        capabilities = ATTACHED._replace(read_only=context.read_only, read_only_because=because)
        gateway = ScriptedGateway(clock, capabilities, snapshot)
        if not watching and opened is not None:
            opened[context.name] = gateway
        return gateway

    return open_context
