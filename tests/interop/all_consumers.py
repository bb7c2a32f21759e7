"""Every consumer, in the order of the table."""

from tests.interop import python_consumers

CONSUMERS = (*python_consumers.CONSUMERS,)
