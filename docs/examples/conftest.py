pytest_plugins = ["trio_webpubsub.testing.pytest_plugin"]
