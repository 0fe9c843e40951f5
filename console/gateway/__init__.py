"""The console's one door to clusters. Everything else in the console knows only these names."""

from console.gateway.protocol import (
    BrokerLog,
    Capabilities,
    EventBatch,
    Gateway,
    GatewayError,
    NewRecord,
    NewTopic,
    ProducedRecord,
    ReadFrom,
    Start,
    Tail,
    TailBatch,
)

__all__ = [
    "BrokerLog",
    "Capabilities",
    "EventBatch",
    "Gateway",
    "GatewayError",
    "NewRecord",
    "NewTopic",
    "ProducedRecord",
    "ReadFrom",
    "Start",
    "Tail",
    "TailBatch",
]
