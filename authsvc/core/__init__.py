"""The rules: what a login, a refresh, a revocation and a check mean. No grpc, SQL, Redis or clock of its own.

`model` the things · `contracts` what stores must do · `errors` every way to be refused · `tokens` opaque token texts ·
`sealing` encryption at rest · `access_tokens`, `signing_keys` JWTs · `passwords`, `throttle` guarding the door ·
`login`, `refresh`, `revoke`, `validate`, `exchange`, `introspect`, `list_sessions` one operation each ·
`view`, `tail`, `feed` the revocation log in memory, kept fresh and streamed · `callers` who is calling ·
`users`, `clients` administration.
"""
