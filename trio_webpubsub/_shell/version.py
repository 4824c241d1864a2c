"""The version of this package, where the build reads it and the client's ``User-Agent`` too."""

VERSION = "0.1.0"
