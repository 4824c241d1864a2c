"""A trio-native library for Azure Web PubSub."""
