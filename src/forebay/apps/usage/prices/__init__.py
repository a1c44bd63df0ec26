"""A price API that logs every request without waiting: what the usage pipeline was made for."""
