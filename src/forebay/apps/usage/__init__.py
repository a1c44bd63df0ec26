"""The usage log: what the sale's API was asked, written without slowing it down."""
