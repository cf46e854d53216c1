"""Stubs of the example, generated from `docs/examples/protos/` by `make proto`, checked in, never edited."""
