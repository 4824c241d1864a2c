from __future__ import annotations

from trio_webpubsub.protocol import wire


def test_the_reconnection_token_is_not_shown() -> None:
    message = wire.ConnectedMessage(connection_id="c-1", user_id="ann", reconnection_token="secret")
    assert repr(message) == "ConnectedMessage(connection_id='c-1', user_id='ann')"
    assert "secret" not in f"{message} {[message]}"
