"""The flash sale: more buyers than seats, each order decided once, first come, first served."""
