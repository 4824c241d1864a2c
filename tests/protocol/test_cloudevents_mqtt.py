from __future__ import annotations

import pytest

from trio_webpubsub.protocol.cloudevents_mqtt import MqttConnect, mqtt_code_of_status, status_of_mqtt_code


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ((1, 2), 400),
        ((3,), 503),
        ((4, 5), 401),
        ((0, 6, 0x7F), 500),
        ((0x81, 0x83, 0x84, 0x85, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B), 400),
        ((0x86, 0x87), 401),
        ((0x8A,), 403),
        ((0x97, 0x9F), 429),
        ((0x80, 0x88, 0x89, 0x9C, 0x9D, 0xFF), 500),
    ],
)
def test_the_status_of_each_code(codes: tuple[int, ...], status: int) -> None:
    assert {status_of_mqtt_code(code) for code in codes} == {status}


@pytest.mark.parametrize(
    ("status", "of_v3", "of_v5"),
    [
        (400, 4, 0x86),
        (401, 5, 0x87),
        (403, 5, 0x87),
        (404, 4, 0x86),
        (429, 4, 0x97),
        (500, 3, 0x80),
        (503, 3, 0x88),
        (504, 3, 0x80),
    ],
)
def test_the_code_of_each_status(status: int, of_v3: int, of_v5: int) -> None:
    assert (mqtt_code_of_status(status, 4), mqtt_code_of_status(status, 5)) == (of_v3, of_v5)


def test_a_password_is_not_shown() -> None:
    connect = MqttConnect(physical_connection_id="p", protocol_version=5, username="ann", password=b"secret")
    assert repr(connect) == "MqttConnect(protocol_version=5, username='ann')"
