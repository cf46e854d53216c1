"""authsvc: one login, revocable sessions outside, locally verified JWTs inside.

The rooms, each of which starts with a page on what it owns and what it leaves to others:

`v1`        the contract as Python: stubs generated from `protos/`, never edited
`core`      the rules, without gRPC, SQL, Redis or a clock of their own
`stores`    the outside world: SQL, Valkey, migrations
`rpc`       what gRPC sees: servicers, policy, errors, interceptors
`http`      what plain HTTP sees: pages, keys, proxies that ask who is let through
`hashing`   processes that hash passwords, and do nothing else
`edge`      the configuration of Envoy, which stands before both
`settings`  which settings there are, by subject; `config` reads them, and is the only reader of the environment
`app`       the one place that joins the parts, with `outside` (clocks, chance) and `background` (ending tasks)
`workers`   several processes at one port
`commands`  the command line: serve, dev and its tour, administration
`logs`      how logs look, and that no secret gets into one

Importing this package loads none of them: a service that only uses `authsvc.v1` stays small.
"""

__version__ = "0.1.0.dev0"
