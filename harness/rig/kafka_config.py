"""What a Kafka of the rig's own is started with: the JVM's options and the nodes' settings."""

from collections.abc import Mapping

from protos.frames import MAX_FRAME_BYTES

VENDOR_JVM = (
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
"""As Kafka's own start scripts."""
FAST_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
)
"""Boots sooner and takes less memory: for tests and smoke."""

MESSAGE_BYTES = MAX_FRAME_BYTES + (1 << 20)
"""So that what every other style takes passes here too, headers and batches included."""

_FAIL_OVER = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "250",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.backoff.max.ms": "500",
    "replica.lag.time.max.ms": "5000",
}
"""With the defaults the partitions of a node that is killed stand still for 11 s, so for 2 s."""
LOGGING = """\
status = ERROR
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%notEmpty{: %throwable{short.message}}%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
"""
"""For log4j 2: one line an event, so that the last line says why a node ended."""


def properties_of(nodes: int, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings that the nodes of a cluster share, `changes` on top."""
    replicas = str(nodes)
    in_sync = str(min(nodes, 2))
    settings = {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MESSAGE_BYTES),
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": replicas,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": replicas,
    }
    if nodes > 1:
        settings |= _FAIL_OVER
    return settings | dict(changes or {})
