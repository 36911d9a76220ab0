"""Words on the wire: records, topics, codec, errors. Bytes in, records out; no Kafka client, no clock.

Floor 1: everything else may import this room, it imports none.
"""
