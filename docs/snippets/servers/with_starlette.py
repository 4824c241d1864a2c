"""Mount the app in Starlette: hypercorn --worker-class trio with_starlette:web. FastAPI has the same in web.mount."""

from chat import app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


web = Starlette(routes=[Route("/", home), Mount("/api/webpubsub", app=app)])
