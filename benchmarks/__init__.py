"""What calls cost, each measured against a bare gRPC echo in the same run. `make bench`.

The rooms, in the order a run passes through them:

- `rows`      every row of the table, in order; a new row is one line there
- `stage`     starts what a run needs: stores, servers and the load, each in a process of its own
- `echo`      the yardstick: grpc.aio and nothing else
- `guarded`   the same echo, guarded by the client package
- `service`   authsvc as in production: logging, metrics and policy on
- `seed`      users, clients and sessions, written straight into the stores
- `load`      the process that calls: so many in flight for so long, every answer checked
- `callers`   what one caller does over and over, RPC by RPC; `guarded_calls` at the guarded echo
- `client_rows` the rows of the client package; `following` and `revoking` are the subscribers of Watch, those that
  only follow and those that measure; `viewing` a view of very many revocations; `obeying` how these take orders
- `verifying` what checking a token costs where nothing is called at all
- `measure`   rounds of echo, row, echo, row, …; medians of what the rounds found
- `report`    the table, `results/latest.json` and `results/latest.png`
"""
