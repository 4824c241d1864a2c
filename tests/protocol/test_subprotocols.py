"""Subprotocols by their names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trio_webpubsub.protocol.subprotocols import SUBPROTOCOLS, codec_for, first_known, is_reliable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_every_subprotocol_has_its_codec(name: str) -> None:
    codec = codec_for(name)
    assert codec.subprotocol == name
    assert codec.reliable == ("reliable" in name)
    assert codec.binary == ("protobuf" in name)


@pytest.mark.parametrize("name", SUBPROTOCOLS)
def test_the_name_says_whether_it_is_reliable(name: str) -> None:
    assert is_reliable(name.upper()) == codec_for(name).reliable


def test_the_first_known_offer_counts_in_its_own_spelling() -> None:
    offered = ["other", "JSON.webpubsub.azure.v1", "protobuf.webpubsub.azure.v1"]
    assert first_known(offered) == "JSON.webpubsub.azure.v1"
    assert first_known(offered, ["protobuf.webpubsub.azure.v1"]) == "protobuf.webpubsub.azure.v1"
    assert first_known(["other"]) is None


@pytest.mark.parametrize("name", ["", "json", "JSON.webpubsub.azure.v1", "protobuf.webpubsub.azure.v2", "mqtt"])
def test_others_are_named_in_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"subprotocol is '{name}', which is none of 'json.reliable"):
        codec_for(name)


def test_protobuf_is_loaded_only_when_it_is_asked_for() -> None:
    program = (
        "import sys; from trio_webpubsub.protocol.subprotocols import codec_for;"
        "codec_for('json.webpubsub.azure.v1'); assert 'google' not in sys.modules;"
        "codec_for('protobuf.webpubsub.azure.v1'); assert 'google.protobuf' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
