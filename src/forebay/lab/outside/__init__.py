"""A service outside of ours, such as one that takes payments: effects in it cannot be fenced."""
