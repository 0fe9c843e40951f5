"""Protobuf's files as schemas: :mod:`engine.protobuf.files` reads them, :mod:`engine.protobuf.text` writes them."""
