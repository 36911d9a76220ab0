"""``paritygate broker``: name, find or start a Kafka broker, and stop the one we started."""

from paritygate.cli.broker.address import broker_folder, cache_folder, resolve_bootstrap
from paritygate.cli.broker.commands import broker_app
from paritygate.cli.broker.launch import Way, start_broker
from paritygate.cli.broker.running import RunningBroker

__all__ = [
    "RunningBroker",
    "Way",
    "broker_app",
    "broker_folder",
    "cache_folder",
    "resolve_bootstrap",
    "start_broker",
]
