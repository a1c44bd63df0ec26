"""What processes of the lab run, beside consumers and the service outside."""
