"""What other services install to log in, call and verify: the client side of authsvc."""
