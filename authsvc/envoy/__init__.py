"""Stubs of what Envoy asks, generated from `protos/`: envoy.service.auth.v3, as far as it is used here."""
