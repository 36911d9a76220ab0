"""Derive every recorded decision again from the logs. Run it: python replay.py"""

from paritygate.cli.kafka import Record, kafka_settings, read
from paritygate.cli.said import command_keys, read_said
from paritygate.rollouts.replay import Refold
from paritygate.schemas.codec import decode_report
from paritygate.schemas.decision import GateDecision
from paritygate.schemas.topics import AUDIT, WINDOWS, Topic

settings = kafka_settings(None)  # PARITYGATE_BOOTSTRAP, or the broker that 'paritygate broker up' started


def records(topic: Topic) -> list[Record]:
    """Everything that lies in a topic now."""
    return list(read(settings, settings.topic(topic.name)))


recorded = [GateDecision.from_bytes(r.value or b"") for r in records(AUDIT)]
said = read_said(settings, command_keys())  # PARITYGATE_COMMAND_KEYS, if it is set
again = Refold(recorded, said.commands, doubted=said.unheard)
for report in records(WINDOWS):
    again.apply_report(report.offset, decode_report(report.value))
again.catch_up()

print(f"{len(recorded)} decisions recorded, {len(again.differences)} do not follow from the logs")
for difference in again.differences:
    print(difference)
