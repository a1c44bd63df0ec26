"""Where SQS is: from an argument, the environment or a queue's URL. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.protocol.identifiers import DEFAULT_REGION, region_of_host

#: Where SDKs look for another endpoint, the most specific first.
#: Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")

#: Where SDKs look for the region.
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A server that can be connected to."""

    host: str
    port: int
    tls: bool


class Endpoint(Struct, frozen=True):
    """One SQS endpoint."""

    #: Where requests are posted to.
    url: str
    #: The value of the Host header.
    host: str
    path: str
    region: str
    #: Whether it is on this machine or in its own network, so that no AWS account is needed.
    local: bool
    #: Where to connect to.
    address: Address


def resolve_endpoint(
    endpoint_url: str | None,
    region: str | None,
    environment: Mapping[str, str],
    queue_url: str | None = None,
) -> Endpoint:
    """The endpoint to send to.

    Without an endpoint URL, in the argument or the environment, it is where the queue's URL says,
    or AWS's for the region. The region is the argument, else the environment's, else the one that
    the endpoint's or the queue's host names.

    Raises SettingsError when the endpoint URL is none or names a user, or when AWS is meant and no
    region is known.
    """
    url = endpoint_url or _first(environment, ENDPOINT_VARIABLES) or _endpoint_of_queue(queue_url)
    region = region or _first(environment, REGION_VARIABLES)
    if url is None:
        region = region or region_of_url(queue_url)
        if region is None:
            raise SettingsError(
                "No endpoint and no AWS region are known. Pass endpoint_url or region, or set"
                " AWS_ENDPOINT_URL_SQS or AWS_REGION."
            )
        url = f"https://sqs.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    parts = urlsplit(url)
    try:
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if parts.scheme not in _DEFAULT_PORTS or not name:
        raise SettingsError(
            f"{url!r} is not an endpoint URL. It must look like http://127.0.0.1:9324."
        )
    if "@" in parts.netloc:
        # It would be shown in every message that says where SQS is, and SQS takes no such thing.
        raise SettingsError(
            f"The endpoint URL of {name} has a user or a password in it. Leave them out: calls are"
            " signed with AWS credentials."
        )
    host = f"[{name}]" if ":" in name else name
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{port}"
    path = parts.path or "/"
    return Endpoint(
        url=f"{parts.scheme}://{host}{path}",
        host=host,
        path=path,
        region=region or region_of_url(url) or region_of_url(queue_url) or DEFAULT_REGION,
        local=is_local(name),
        address=Address(name, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "https"),
    )


def region_of_url(url: str | None) -> str | None:
    """The region in the host of an AWS queue or endpoint URL; None when it names none."""
    host = _host(url)
    return region_of_host(host) if host else None


def _endpoint_of_queue(queue_url: str | None) -> str | None:
    """The endpoint in the URL of a queue that is not at AWS; None when there is none in it."""
    if not _host(queue_url) or region_of_url(queue_url) is not None:
        return None
    parts = urlsplit(queue_url or "")
    return f"{parts.scheme}://{parts.netloc}"


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url).hostname if url else None
    except ValueError:
        return None


def is_local(host: str) -> bool:
    """Whether a host is this machine or a neighbour: a private address, or a name without a domain.

    Names of containers on one network have no domain.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_private or address.is_loopback


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
