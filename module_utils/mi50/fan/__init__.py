"""What a node has of the fan daemon: files, units, rivals, heartbeat. The daemon itself is no part of this."""
