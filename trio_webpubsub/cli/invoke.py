"""``invoke``: sends an event, and prints what the handler answers."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import Any

from .. import InvokeResult, open_client
from ..protocol.names import check_event
from . import output
from .options import add_resource, open_resource, read_user_id
from .payload import add_payload, check_payload, opened, read_whole, value_of
from .rendering import json_line, text_of
from .terminal import Painter

_EXAMPLES = """\
Text and JSON are printed as they are, bytes in base64. An empty answer prints
nothing. Invocations are a preview of the service.

examples:
  trio-webpubsub invoke price '{"coffee": 1}' --type json
  trio-webpubsub invoke ping
  trio-webpubsub invoke convert --file cat.png --type binary --json"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.description = "Send an event to the hub's event handler, wait for its answer, and print that."
    parser.epilog = _EXAMPLES
    parser.add_argument("event", metavar="EVENT", help="what the event is called")
    add_payload(parser, without="the event has no data")
    parser.add_argument("--json", action="store_true", help="print the answer as a JSON object, with its data type")
    parser.add_argument("--user-id", metavar="ID", help="who asks; by default nobody")
    add_resource(parser)


async def run(options: argparse.Namespace) -> int:
    """Invoke the event.

    Raises:
        WebPubSubError: there is no answer.
        ValueError: options or data cannot be used.
        OSError: the file cannot be read.
    """
    check_event(options.event)
    check_payload(options)
    data, data_type = await _data(options)
    async with open_resource(options) as service:
        url = partial(service.client_access_url, user_id=read_user_id(options))
        async with open_client(url, allow_insecure=options.allow_insecure) as client:
            result = await client.invoke_event(options.event, data, data_type=data_type)
    if options.json:
        metadata = result.metadata and dict(result.metadata)
        await output.write_lines([json_line({"dataType": result.data_type, "data": result.data, "metadata": metadata})])
    elif result.data_type is not None:
        await output.write_lines([_text(result)])
    return 0


async def _data(options: argparse.Namespace) -> tuple[Any, Any]:
    if options.message is not None:
        return value_of(os.fsencode(options.message), options.type, "the message"), options.type
    if options.file is None:
        return None, None
    with opened(options.file) as file:
        return value_of(await read_whole(file), options.type, "the input"), options.type


def _text(result: InvokeResult) -> str:
    if isinstance(result.data, str) and result.data_type == "text" and not Painter(sys.stdout).is_terminal:
        return result.data  # a program may want the very text
    return text_of(result.data, result.data_type, keep="\n\t")
