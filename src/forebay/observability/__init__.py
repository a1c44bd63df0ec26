"""What workers show of themselves, in the forms that others read."""
