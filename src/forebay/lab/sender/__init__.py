"""The producer of document 001: synthetic messages, some of them poison, at a rate."""

from forebay.lab.sender.payloads import POISON, Payloads, payloads
from forebay.lab.sender.sending import Sent, send_payloads

__all__ = ["POISON", "Payloads", "Sent", "payloads", "send_payloads"]
