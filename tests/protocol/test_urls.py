from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webpubsub.protocol.urls import (
    Address,
    ClientUrl,
    client_audience,
    client_base_url,
    client_url,
    is_loopback,
    redact,
)

SECRET = "eyJhbGciOi.canary.c2VjcmV0"


def test_the_usual_form() -> None:
    url = ClientUrl.parse(f"wss://Foo.webpubsub.azure.com/client/hubs/chat?access_token={SECRET}")
    assert url == ClientUrl(
        secure=True,
        host="foo.webpubsub.azure.com",
        port=443,
        host_header="foo.webpubsub.azure.com",
        resource=f"/client/hubs/chat?access_token={SECRET}",
        hub="chat",
        access_token=SECRET,
    )


def test_what_others_say_of_it_shows_no_token() -> None:
    url = ClientUrl.parse(f"ws://h/client/hubs/chat?a=1&ACCESS_TOKEN={SECRET}%2F&access_token=")
    assert url.conceal(f"1: {SECRET}/ or {SECRET}%2F") == "1: *** or ***"
    assert ClientUrl.parse("ws://h/client/hubs/chat").conceal("nothing") == "nothing"


@pytest.mark.parametrize(
    ("url", "hub"),
    [
        ("ws://h/client/hubs/Chat", "Chat"),
        ("ws://h/client/hubs/chat/", "chat"),
        ("ws://h/client/?hub=chat", "chat"),
        ("ws://h/client?HUB=chat&hub=other", "chat"),
        ("ws://h/client/hubs/chat?hub=other", "chat"),
        ("ws://h/some/prefix/client/hubs/chat", "chat"),
        ("ws://h/client/hubs/a%2Cb", "a,b"),
    ],
)
def test_both_forms_name_the_hub(url: str, hub: str) -> None:
    assert ClientUrl.parse(url).hub == hub


@pytest.mark.parametrize(
    ("authority", "host", "port", "host_header"),
    [
        ("h", "h", 80, "h"),
        ("H:80", "h", 80, "h"),
        ("h:443", "h", 443, "h:443"),
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("[::1]", "::1", 80, "[::1]"),
        ("[2001:DB8::0:1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:65535"),
        ("my_host.example.", "my_host.example.", 80, "my_host.example."),
    ],
)
def test_host_and_port(authority: str, host: str, port: int, host_header: str) -> None:
    url = ClientUrl.parse(f"ws://{authority}/client/hubs/chat")
    assert (url.secure, url.host, url.port, url.host_header) == (False, host, port, host_header)


def test_the_secure_scheme_has_its_own_port() -> None:
    url = ClientUrl.parse("WSS://h:80/client/hubs/chat")
    assert (url.secure, url.host_header) == (True, "h:80")


def test_a_url_without_token() -> None:
    assert ClientUrl.parse("ws://h/client/hubs/chat").access_token is None


def test_a_url_without_path_is_an_address() -> None:
    address = Address.parse("https://h")
    assert (address.path, address.query) == ("", "")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a URL"),
        ("chat", "not a URL"),
        (SECRET, "not a URL"),
        ("//h/client/hubs/chat", "not a URL"),
        ("wss:/h/client/hubs/chat", "not a URL"),
        ("://h/client/hubs/chat", "not a URL"),
        (f"Endpoint=https://h;AccessKey={SECRET};", "a connection string"),
        ("https://h/client/hubs/chat", "starts with wss://, not https://"),
        ("HTTP://h/client/hubs/chat", "starts with ws://, not http://"),
        ("ftp://h/client/hubs/chat", "starts with wss:// or ws://"),
        ("wss:///client/hubs/chat", "no usable host"),
        ("wss://:443/client/hubs/chat", "no usable host"),
        ("wss://a..b/client/hubs/chat", "no usable host"),
        (f"wss://{'a' * 64}/client/hubs/chat", "no usable host"),
        (f"wss://{'a.' * 127}a/client/hubs/chat", "no usable host"),
        ("wss://a%2Fb/client/hubs/chat", "no usable host"),
        ("wss://[]/client/hubs/chat", "no usable host"),
        ("wss://[1:2]/client/hubs/chat", "no usable host"),
        ("wss://[::1/client/hubs/chat", "no readable host and port"),
        ("wss://[::1]x/client/hubs/chat", "no readable host and port"),
        ("wss://[fe80::1%25eth0]/client/hubs/chat", "no readable host and port"),
        ("wss://h:/client/hubs/chat", "port is not a number from 1 to 65535"),
        ("wss://h:0/client/hubs/chat", "port is not a number from 1 to 65535"),
        ("wss://h:65536/client/hubs/chat", "port is not a number from 1 to 65535"),
        ("wss://h:-1/client/hubs/chat", "port is not a number from 1 to 65535"),
        ("wss://h:8_0/client/hubs/chat", "port is not a number from 1 to 65535"),
        (f"wss://h:{'9' * 5000}/client/hubs/chat", "port is not a number from 1 to 65535"),
        ("wss://::1/client/hubs/chat", "no usable host"),
        (f"wss://user:{SECRET}@h/client/hubs/chat", "must not hold a user name"),
        (f"wss://h/client/hubs/chat#access_token={SECRET}", "fragment"),
        ("wss://h/client/hubs/chat#", "fragment"),
        ("wss://h", "names no hub"),
        ("wss://h/", "names no hub"),
        ("wss://h/client", "names no hub"),
        ("wss://h/client/hubs/", "names no hub"),
        ("wss://h/client/hubs/chat/more", "names no hub"),
        ("wss://h/clients/mqtt/hubs/chat", "names no hub"),
        ("wss://h/client/?hub=", "names no hub"),
        (f"wss://h/client/hubs/{SECRET}--", "as no hub can be called"),
        ("wss://h/client/hubs/a%2Fb", "as no hub can be called"),
        ("wss://h/client/hubs/chat ", "percent-encoded"),
        ("wss://h/client/hubs/chat\n", "percent-encoded"),
        ("wss://bücher.example/client/hubs/chat", "percent-encoded"),
        ("wss://h/client/hubs/chat?x=\ud800", "lone surrogate"),
    ],
)
def test_what_is_no_client_url(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        ClientUrl.parse(url)
    assert "canary" not in str(caught.value)


def test_a_client_url_is_a_str() -> None:
    wrong: Any = b"wss://h/client/hubs/chat"
    with pytest.raises(TypeError, match="a URL is a str, not bytes"):
        ClientUrl.parse(wrong)


@given(st.text())
def test_any_text_is_parsed_or_a_value_error(text: str) -> None:
    try:
        url = ClientUrl.parse(text)
    except ValueError:
        return
    assert url.hub


@given(
    st.from_regex(
        r"wss?://[a-z\[\]:0-9.@]{1,12}/client(/hubs/[a-z%0-9]{1,5})?/?(\?[a-z_=&%0-9]{0,20})?", fullmatch=True
    )
)
def test_anything_like_a_client_url_is_parsed_or_a_value_error(text: str) -> None:
    try:
        url = ClientUrl.parse(text)
    except ValueError:
        return
    assert str(ClientUrl.parse(str(url))) == str(url)


def test_a_recovery_keeps_everything_but_the_session() -> None:
    url = ClientUrl.parse(
        f"wss://h:1/p/client/?hub=chat&x=a%2Fb&&Access_Token={SECRET}&awps_connection_id=o&awps_reconnection_token=o&y"
    )
    recovery = url.recovery("c/1", "t&+ é")
    assert recovery.resource == (
        "/p/client/?hub=chat&x=a%2Fb&y&awps_connection_id=c%2F1&awps_reconnection_token=t%26%2B%20%C3%A9"
    )
    assert recovery.access_token is None
    assert (recovery.secure, recovery.host, recovery.port, recovery.hub) == (True, "h", 1, "chat")


def test_a_recovery_of_a_url_without_query() -> None:
    recovery = ClientUrl.parse("ws://h/client/hubs/chat").recovery("c", "t")
    assert recovery.resource == "/client/hubs/chat?awps_connection_id=c&awps_reconnection_token=t"


def test_no_text_of_a_client_url_shows_a_token() -> None:
    url = ClientUrl.parse(f"wss://h:1/client/hubs/chat?access_token={SECRET}&x=y")
    assert str(url) == "wss://h:1/client/hubs/chat?access_token=***&x=y"
    assert repr(url) == "ClientUrl('wss://h:1/client/hubs/chat?access_token=***&x=y')"
    assert "canary" not in f"{url.recovery('c', SECRET)} {url.recovery('c', SECRET)!r}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://h/p", "wss://h/p"),
        ("not a url", "not a url"),
        ("?access_token", "?access_token"),
        (f"?a=b&ACCESS%5FTOKEN={SECRET}&c=d", "?a=b&ACCESS%5FTOKEN=***&c=d"),
        (f"/p?awps_reconnection_token={SECRET}", "/p?awps_reconnection_token=***"),
        (f"/p?a=b#access_token={SECRET}", "/p?a=b#access_token=***"),
        (f"/p?x=1&access_token={SECRET}=={SECRET}&z", "/p?x=1&access_token=***&z"),
        (f"wss://user:{SECRET}@h/p?x=1", "wss://***@h/p?x=1"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_client_url_is_made_from_an_endpoint() -> None:
    assert client_url("https://h:1", "chat", SECRET) == f"wss://h:1/client/hubs/chat?access_token={SECRET}"
    assert client_url("http://h", "a,b", "t") == "ws://h/client/hubs/a%2Cb?access_token=t"


def test_a_client_url_that_was_made_can_be_read() -> None:
    url = ClientUrl.parse(client_url("http://[::1]:8080", "a[b]", SECRET))
    assert (url.host, url.port, url.hub, url.access_token) == ("::1", 8080, "a[b]", SECRET)


def test_the_audience_is_an_http_url() -> None:
    assert client_audience("https://h", "a`b") == "https://h/client/hubs/a%60b"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "128.0.0.1", "localhost.example", "127.0.0.1.example", "", "2130706433"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("wss://host/client/hubs/chat?access_token=secret", "wss://host/client/hubs/chat"),
        ("ws://[::1]:81/client?hub=chat&access_token=secret", "ws://[::1]:81/client?hub=chat"),
        (
            "wss://host/client/hubs/chat?a=1&awps_connection_id=c&awps_reconnection_token=secret",
            "wss://host/client/hubs/chat?a=1",
        ),
    ],
)
def test_a_url_without_its_tokens(url: str, left: str) -> None:
    assert ClientUrl.parse(url).without_tokens() == left


def test_other_client_protocols_have_paths_of_their_own() -> None:
    assert client_audience("https://x", "chat", "mqtt") == "https://x/clients/mqtt/hubs/chat"
    assert client_base_url("https://x", "chat", "socketio") == "wss://x/clients/socketio/hubs/chat"
    unheard_of: Any = "smoke signals"
    with pytest.raises(ValueError, match="none of 'default', 'mqtt', 'socketio'"):
        client_audience("https://x", "chat", unheard_of)
