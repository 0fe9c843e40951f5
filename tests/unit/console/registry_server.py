"""A small schema registry on loopback: a real HTTP server that answers as Confluent's does, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What AvroSerializer and ProtobufSerializer of confluent-kafka 2.16.1 wrote, and the schemas that they registered.
ORDER_BYTES = bytes.fromhex("000000000894e2090432bef0c5f0ddc168021e616461406578616d706c652e6f72670102")
PAYMENT_BYTES = bytes.fromhex(
    "000000000a0202088180808080808010120808be6512034555521a02000120012a070a03612d3110023206089bb296d806"
)
LINE_BYTES = bytes.fromhex("000000000a0402000a03622d321003")
NOTE_BYTES = bytes.fromhex("000000000a000a026869")
# The same with its header_schema_id_serializer: __value_schema_id.
ORDER_GUID = bytes.fromhex("01320e2d64c3dc4ec7ae8b58d5b620bbf2")
LINE_GUID = bytes.fromhex("0162908f3cb39f43278e573c4f0abc5cc3040200")
ORDER = {
    "order": 80010,
    "amount": 129.9,
    "at": "2026-11-24T14:03:07Z",
    "customer": {"email": "ada@example.org", "vip": True},
    "state": "PAID",
}
PAYMENT = {
    "id": 9007199254740993,
    "amount": {"cents": 12990, "currency": "EUR"},
    "raw": "AAE=",
    "kind": "CARD",
    "lines": [{"sku": "a-1", "pieces": 2}],
    "at": "2026-11-24T14:03:07Z",
}
CUSTOMER_SCHEMA = (
    '{"type":"record","name":"Customer","namespace":"shop","fields":'
    '[{"name":"email","type":"string"},{"name":"vip","type":"boolean"}]}'
)
ORDER_SCHEMA = (
    '{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"order","type":"long"},{"name":"amount","type":'
    '{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"at","type":{"type":"long","logicalType":'
    '"timestamp-millis"}},{"name":"customer","type":["null","shop.Customer"]},{"name":"state","type":{"type":"enum",'
    '"name":"State","symbols":["NEW","PAID"]}}]}'
)
MONEY_PROTO = 'syntax = "proto3"; package common; message Money { int64 cents = 1; string currency = 2; }'
PAYMENT_PROTO = """syntax = "proto3";
package shop;
import "common/money.proto";
import "google/protobuf/timestamp.proto";
message Note { string text = 1; }
message Payment {
  message Line { string sku = 1; int32 pieces = 2; }
  enum Kind { CASH = 0; CARD = 1; }
  int64 id = 1;
  common.Money amount = 2;
  bytes raw = 3;
  Kind kind = 4;
  repeated Line lines = 5;
  google.protobuf.Timestamp at = 6;
}
"""
# As that serializer registers them, for registries that give back what they got.
MONEY_DESCRIPTOR = (
    "ChJjb21tb24vbW9uZXkucHJvdG8SBmNvbW1vbiI5CgVNb25leRIUCgVjZW50cxgBIAEoA1IFY2VudHMSGgoIY3VycmVuY3kYAiABKAlSCGN1cn"
    "JlbmN5YgZwcm90bzM="
)
PAYMENT_DESCRIPTOR = (
    "CglwYXkucHJvdG8SBHNob3AaEmNvbW1vbi9tb25leS5wcm90bxofZ29vZ2xlL3Byb3RvYnVmL3RpbWVzdGFtcC5wcm90byIaCgROb3RlEhIKBH"
    "RleHQYASABKAlSBHRleHQingIKB1BheW1lbnQSDgoCaWQYASABKANSAmlkEiUKBmFtb3VudBgCIAEoCzINLmNvbW1vbi5Nb25leVIGYW1vdW50"
    "EhAKA3JhdxgDIAEoDFIDcmF3EiYKBGtpbmQYBCABKA4yEi5zaG9wLlBheW1lbnQuS2luZFIEa2luZBIoCgVsaW5lcxgFIAMoCzISLnNob3AuUG"
    "F5bWVudC5MaW5lUgVsaW5lcxIqCgJhdBgGIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5UaW1lc3RhbXBSAmF0GjAKBExpbmUSEAoDc2t1GAEgASgJ"
    "UgNza3USFgoGcGllY2VzGAIgASgFUgZwaWVjZXMiGgoES2luZBIICgRDQVNIEAASCAoEQ0FSRBABYgZwcm90bzM="
)
_ORDER = {
    "schema": ORDER_SCHEMA,
    "references": [{"name": "shop.Customer", "subject": "customer", "version": 1}],
}
_PAYMENT = {
    "schemaType": "PROTOBUF",
    "schema": PAYMENT_PROTO,
    "references": [{"name": "common/money.proto", "subject": "common/money.proto", "version": 1}],
}
ANSWERS: dict[str, Any] = {
    "/schemas/ids/8": _ORDER,
    "/subjects/customer/versions/1": {"id": 7, "schema": CUSTOMER_SCHEMA},
    "/subjects/orders-value/versions/latest": {"id": 8, **_ORDER},
    "/schemas/ids/10": _PAYMENT,
    "/subjects/common%2Fmoney.proto/versions/1": {"id": 9, "schemaType": "PROTOBUF", "schema": MONEY_PROTO},
    "/schemas/ids/11": {
        "schemaType": "PROTOBUF",
        "schema": PAYMENT_DESCRIPTOR,
        "references": [{"name": "common/money.proto", "subject": "money in base64", "version": 1}],
    },
    "/subjects/money%20in%20base64/versions/1": {"id": 12, "schemaType": "PROTOBUF", "schema": MONEY_DESCRIPTOR},
    "/schemas/guids/320e2d64-c3dc-4ec7-ae8b-58d5b620bbf2": _ORDER,
    "/schemas/guids/62908f3c-b39f-4327-8e57-3c4f0abc5cc3": _PAYMENT,
    "/schemas/ids/8/versions": [
        {"subject": "audit-value", "version": 1},
        {"subject": "orders-copy-value", "version": 9},
        {"subject": "orders-value", "version": 3},
    ],
    "/schemas/ids/13": {"schemaType": "JSON", "schema": "{}"},
    "/schemas/ids/14": {"schema": '{"type": "no such type"}'},
}


class RegistryServer:
    """Requests are counted by path; ``hangs`` keeps answers back until it is cleared."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.answers = dict(ANSWERS)
        self.status = 0
        self.hangs = threading.Event()
        self.go_on = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.authorizations.append(self.headers.get("Authorization"))
                if outer.hangs.is_set():
                    outer.go_on.wait(20)
                answer = outer.answers.get(self.path)
                status = outer.status or (404 if answer is None else 200)
                body = json.dumps({"error_code": status * 100 + 3} if answer is None else answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # nobody waits any more

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def registry_server() -> Iterator[RegistryServer]:
    server = RegistryServer()
    try:
        yield server
    finally:
        server.close()
