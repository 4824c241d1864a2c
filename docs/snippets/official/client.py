import sys
from threading import Event

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType

heard = Event()


def on_group_message(message):
    print(message.from_user_id, "says", message.data)
    heard.set()


client = WebPubSubClient(sys.argv[1])
client.subscribe(CallbackType.GROUP_MESSAGE, on_group_message)
with client:
    client.join_group("lobby")
    client.send_to_group("lobby", "Hello!", WebPubSubDataType.TEXT)
    heard.wait()
