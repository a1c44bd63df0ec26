"""Forebay: an SQS-native queue system for Python."""

__version__ = "0.1.0"
