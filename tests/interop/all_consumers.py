"""Every consumer, in the order of the table."""

from tests.interop import emulated_consumers, javascript_consumers, python_consumers, served_consumers

CONSUMERS = (
    *python_consumers.CONSUMERS,
    *served_consumers.CONSUMERS,
    *javascript_consumers.CONSUMERS,
    *emulated_consumers.CONSUMERS,
)
