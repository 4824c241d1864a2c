"""The WebSocket client. Its public names are those of `trio_webpubsub`."""
