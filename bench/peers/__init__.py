"""Other projects, on the same work. `make bench-peers` installs them; nothing of the product needs them."""
