"""One batcher with two faces: fire-and-forget `send` and acknowledged `publish`."""
