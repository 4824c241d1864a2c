from __future__ import annotations

from trio_webpubsub.protocol import wire


def test_the_reconnection_token_is_not_shown() -> None:
    message = wire.ConnectedMessage(connection_id="c-1", user_id="ann", reconnection_token="secret")
    assert repr(message) == "ConnectedMessage(connection_id='c-1', user_id='ann')"
    assert "secret" not in f"{message} {[message]}"


def test_what_is_kept_for_clients_knows_its_size() -> None:
    assert wire.DataMessage(payload=wire.Payload("text", b"abc")).size == 3
    items = [wire.GroupStateItem(connection_id="c-1", state={"a": "bc"}), wire.GroupStateItem(connection_id="c-2")]
    assert wire.GroupState(group="g", items=items, snapshot=True).size == 9
