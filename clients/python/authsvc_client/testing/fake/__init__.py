"""An authsvc for tests: the real contract over real gRPC on a free port, everything in memory.

- `server`      `FakeAuthService`: starting, stopping, and what a test does behind the service's back
- `servicer`    AuthService, one lock around each answer
- `callers`     who calls
- `signing_in`  Login, Refresh, ExchangeSession
- `revoking`    Revoke
- `asking`      ValidateSession, BatchValidateSessions, Introspect, ListSessions
- `log`         revisions, and Watch streams that follow them
- `deployment`  what it knows; `records` the things themselves; `messages` and `refusals` how they look on the wire
"""
