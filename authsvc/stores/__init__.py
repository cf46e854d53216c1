"""Owns the outside world: SQL and Valkey behind the contracts of `authsvc.core.contracts`. Decides nothing."""
