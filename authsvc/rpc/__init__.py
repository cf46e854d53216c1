"""The service as gRPC sees it. Knows the rules (authsvc.core), never the stores.

A request passes: `transport` (the one file that knows grpc.aio) -> `interceptors` (in the order `interceptors.STACK`
lists) -> `servicers` (one method per RPC, no more than translation) -> the operation in core.

`policy` one row per RPC · `errors` one table from refusals to statuses · `convert`, `requests` messages to values and
back · `watch` the stream of revocations on the wire · `health`, `reflection`, `metrics` what surrounds the service.
"""
