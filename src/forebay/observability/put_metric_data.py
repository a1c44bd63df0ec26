"""Sending metrics to CloudWatch with botocore, which signs them; in a thread, since it blocks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from forebay.client.endpoint import REGION_VARIABLES
from forebay.errors import SettingsError
from forebay.observability.cloudwatch import Datum, MetricsRefused, MetricsUnsent

#: How long a call may take: a stop of the process waits for one that is under way. It is tried
#: once, since the next minute tries again.
_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})

#: Errors that the same data would bring again. Source: API PutMetricData.
_REFUSALS = {
    "InvalidParameterCombination",
    "InvalidParameterCombinationException",
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "MissingParameter",
    "MissingRequiredParameterException",
    "ValidationError",
}


class BotocoreSender:
    """Puts metric data where botocore's configuration says CloudWatch is.

    Raises SettingsError when the configuration cannot be read or names no region.
    """

    def __init__(self, endpoint_url: str | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._client: Any = None
        try:
            self._session = Session()
            # botocore itself does not look at AWS_REGION.
            named = (os.environ.get(name) for name in REGION_VARIABLES)
            region = next(filter(None, named), None) or self._session.get_config_variable("region")
        except BotoCoreError as error:
            raise SettingsError(f"The AWS configuration cannot be read: {error}.") from error
        if not region:
            raise SettingsError("No AWS region is known for CloudWatch. Set AWS_REGION.")
        self.region: str = region

    async def send(self, namespace: str, data: Sequence[Datum]) -> None:
        """See MetricSender."""
        await asyncio.to_thread(self._send, namespace, data)

    def _send(self, namespace: str, data: Sequence[Datum]) -> None:
        try:
            if self._client is None:
                self._client = self._session.create_client(
                    "cloudwatch",
                    region_name=self.region,
                    endpoint_url=self._endpoint_url,
                    config=_CONFIG,
                )
            self._client.put_metric_data(
                Namespace=namespace, MetricData=[_as_botocore_says(each) for each in data]
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _REFUSALS:
                raise MetricsRefused(f"CloudWatch does not take metrics: {error}") from error
            raise MetricsUnsent(f"Metrics are kept, CloudWatch refuses them: {error}") from error
        except Exception as error:
            # What answers may be no CloudWatch, and then botocore fails in any way.
            raise MetricsUnsent(f"Metrics are kept, CloudWatch is not reached: {error}") from error


def _as_botocore_says(datum: Datum) -> dict[str, Any]:
    return {
        "MetricName": datum.name,
        "Value": datum.value,
        "Unit": datum.unit,
        "Timestamp": datetime.fromtimestamp(datum.at_ms / 1000, UTC),
        "Dimensions": [
            {"Name": name, "Value": value} for name, value in sorted(datum.dimensions.items())
        ],
    }
