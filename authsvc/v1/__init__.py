"""The contract as Python: stubs generated from `protos/` by `make proto`, checked in, never edited."""
