"""``paritygate topics list | create | check``: the topics of the table, on paper and on the cluster.

Law: ``create`` only adds, it never changes or deletes what is there. ``check`` names every difference that
would lose pairs or decisions, each with how to mend it, and exits 1 when there is one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from paritygate.cli.console import console, new_table, print_json, print_line
from paritygate.cli.kafka import ANSWER_S, kafka_settings, partition_counts, unavailable
from paritygate.cli.options import Bootstrap, Json
from paritygate.schemas.errors import ConfigError
from paritygate.schemas.topics import BULK, TOPICS, Topic

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings

topics_app = typer.Typer(no_args_is_help=True, help="The topics: list them, make them, check them.")

IS_MISSING = "is not there"
#: A topic with another clean-up policy forgets what must be kept, or keeps what routers must not read first.
_DECISIVE = ("cleanup.policy", "message.timestamp.type")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on the cluster that is not as the table says. ``severity``: ``fail`` or ``warn``."""

    topic: str
    severity: str
    what: str
    mend: str


@topics_app.command("list")
def list_topics(as_json: Json = False) -> None:
    """Print the table of topics; asks no broker."""
    if as_json:
        print_json([{**asdict(t), "config": dict(t.config)} for t in TOPICS])
        return
    table = new_table("topic", "record", "key", "partitions", "clean-up", "about")
    for t in TOPICS:
        count = "join" if t.partitions is None else str(t.partitions)
        table.add_row(t.name, t.record, t.key, count, t.config.get("cleanup.policy", ""), t.about)
    console().print(table)


@topics_app.command("create")
def create(
    bootstrap: Bootstrap = None,
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of the topics that are joined.")] = 4,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, help="Copies of each; otherwise the cluster's default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the topics that are missing, as the table says; those that are there stay as they are."""
    settings = kafka_settings(bootstrap)
    made = create_topics(settings, partitions, replication_factor)
    if as_json:
        print_json({"created": made, "partitions": partitions})
        return
    for name in made:
        print_line(f"created {name}")
    print_line(f"{len(made)} made, {len(TOPICS) - len(made)} were there")


@topics_app.command("check")
def check(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """Compare the cluster with the table; exit 1 when something would lose pairs or decisions."""
    differences = check_topics(kafka_settings(bootstrap))
    if as_json:
        print_json([asdict(d) for d in differences])
    elif not differences:
        print_line(f"all {len(TOPICS)} topics are as the table says")
    for d in () if as_json else differences:
        print_line(f"{d.severity}: {d.topic}: {d.what}; {d.mend}")
    if any(d.severity == "fail" for d in differences):
        raise typer.Exit(1)


def create_topics(settings: KafkaSettings, partitions: int, replication_factor: int | None = None) -> list[str]:
    """Make the missing topics and wait until they can be used; the names made.

    :raises ConfigError: the cluster refuses one; the text says why.
    :raises BrokerUnavailableError: nobody answered.
    """
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    there = partition_counts(settings)
    missing = [t for t in TOPICS if settings.topic(t.name) not in there]
    if not missing:
        return []
    wanted = [
        NewTopic(
            settings.topic(t.name),
            t.partition_count(partitions),
            -1 if replication_factor is None else replication_factor,
            config=dict(t.config),
        )
        for t in missing
    ]
    made = []
    admin = AdminClient(settings.confluent())  # must outlive its futures
    for name, future in admin.create_topics(wanted, operation_timeout=30, request_timeout=40).items():
        try:
            future.result()
        except KafkaException as e:
            error = e.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else made it just now
                continue
            if error.retriable():
                unavailable(settings, e)
            raise ConfigError(f"the cluster refuses topic {name}: {error.str()}") from None
        made.append(name)
    return made


def check_topics(settings: KafkaSettings) -> list[Difference]:
    """What is not as the table says; empty when all is well.

    :raises BrokerUnavailableError: nobody answered.
    """
    counts = partition_counts(settings)
    there = [t for t in TOPICS if settings.topic(t.name) in counts]
    found = [
        Difference(settings.topic(t.name), "fail", IS_MISSING, "'paritygate topics create' makes it")
        for t in TOPICS
        if t not in there
    ]
    found += compare_partitions({t.name: counts[settings.topic(t.name)] for t in there}, settings.topic_prefix)
    if there:
        found += _compare_configs(settings, there)
    return found


def compare_partitions(counts: dict[str, int], prefix: str = "") -> list[Difference]:
    """Partition counts by table name against the table. Pure."""
    found = []
    joined = {t.name: counts[t.name] for t in BULK if t.name in counts}
    if len(set(joined.values())) > 1:
        most = max(joined.values())
        listed = ", ".join(f"{prefix}{name} has {n}" for name, n in joined.items())
        found += [
            Difference(
                prefix + name,
                "fail",
                f"has {n} partitions, another joined topic {most}: its keys never meet their pair ({listed})",
                f"delete and make it again while empty, or 'kafka-topics --alter --partitions {most}'",
            )
            for name, n in joined.items()
            if n != most
        ]
    for t in TOPICS:
        if t.partitions is not None and counts.get(t.name, t.partitions) != t.partitions:
            what = f"has {counts[t.name]} partitions, not {t.partitions}: its order would be lost"
            found.append(Difference(prefix + t.name, "fail", what, "delete it and make it again"))
    return found


def _compare_configs(settings: KafkaSettings, topics: list[Topic]) -> list[Difference]:
    from confluent_kafka import KafkaException  # noqa: PLC0415
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415
    from confluent_kafka.admin._config import ConfigResource  # noqa: PLC0415  (not exported with its type)

    by_name = {settings.topic(t.name): t for t in topics}
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in by_name]
    found = []
    admin = AdminClient(settings.confluent())  # must outlive its futures
    for resource, future in admin.describe_configs(asked, request_timeout=2 * ANSWER_S).items():
        try:
            entries = future.result()
        except KafkaException as e:
            what = f"its settings cannot be read: {e.args[0].str()}"
            found.append(Difference(resource.name, "warn", what, "allow DESCRIBE_CONFIGS on it"))
            continue
        for key, wanted in by_name[resource.name].config.items():
            value = entries[key].value if key in entries else None
            if value is None or value == wanted:
                continue
            found.append(
                Difference(
                    resource.name,
                    "fail" if key in _DECISIVE else "warn",
                    f"{key} is {value}, the table says {wanted}",
                    f"'kafka-configs --alter --entity-type topics --entity-name {resource.name} "
                    f"--add-config {key}={wanted}'",
                )
            )
    return found
