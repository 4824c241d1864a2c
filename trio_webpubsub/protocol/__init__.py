"""The protocol core, sans-IO: no trio, no clock, no randomness. It is given bytes, ``now`` and random bytes."""
