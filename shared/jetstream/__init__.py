"""The actor model's mailbox over NATS JetStream: connection, topology, consumers, state, lease."""
