"""The protocol core, sans-IO: no trio, no clock, no randomness. Whoever calls passes in bytes, ``now`` and random bytes."""
