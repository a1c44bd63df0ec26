"""The usage log: what an API was asked, written without slowing it down, and counted exactly."""
