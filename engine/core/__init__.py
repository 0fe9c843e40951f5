"""Pure state machines: inputs are events and the time, outputs are one :class:`~engine.core.effects.Effects` value."""
