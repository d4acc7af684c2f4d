"""What every implementation and every version must agree on: messages, mailboxes, the broker."""
