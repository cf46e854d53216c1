"""The rules: what a login, a refresh, a revocation and a check mean. No grpc, SQL, Redis or clock of its own.

`model` the things · `contracts` what stores must do · `errors` every way to be refused · `tokens` opaque token texts ·
`sealing` encryption at rest, `reencryption` under another secret · `access_tokens`, `signing_keys` JWTs,
`key_lifecycle` when their keys begin and end · `passwords`, `throttle` guarding the door ·
`explain`, `explain_access`, `explanation` why a token is refused ·
`login`, `new_sessions`, `login_challenge` a login in one step or two · `second_factors`, `one_time_codes`, `totp`,
`recovery_codes`, `step_up` second factors ·
`refresh`, `revoke`, `validate`, `exchange`, `introspect`, `list_sessions` one operation each ·
`view`, `tail`, `feed` the revocation log in memory, kept fresh and streamed · `callers` who is calling ·
`users`, `clients` administration.
"""
