"""What was decided goes on disk and out into the world: the ledger and its delivery over MQTT."""
