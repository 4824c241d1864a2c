"""Mount the app beside quart-trio: hypercorn --worker-class trio with_quart:web."""

from chat import app
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware
from quart_trio import QuartTrio

quart = QuartTrio(__name__)


@quart.get("/")
async def home() -> str:
    return "home"


web = TrioDispatcherMiddleware({"/api/webpubsub": app, "": quart})
