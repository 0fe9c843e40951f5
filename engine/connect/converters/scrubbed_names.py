"""Names that Avro and Protobuf can have (``scrub.invalid.names`` of Confluent's converters)."""

from __future__ import annotations

from urllib.parse import quote_plus


def scrubbed(name: str, *, first: str = "") -> str:
    """A name of letters, digits and underscores that does not begin with a digit: others become underscores.

    Args:
        first: what more it may not begin with.
    """
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit()
    if not name or (plain and name[0] not in first):
        return name
    encoded = quote_plus(name, safe="*-._")
    encoded = f"x{encoded}" if encoded[0].isdigit() or encoded[0] in first else encoded
    return "".join(each if each.isascii() and each.isalnum() else "_" for each in encoded)
