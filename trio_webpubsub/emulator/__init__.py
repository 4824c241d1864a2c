"""The service itself, in this process or on a port: for development, demos and tests."""
