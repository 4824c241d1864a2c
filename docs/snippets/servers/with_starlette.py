"""Mount the app in Starlette or FastAPI: hypercorn --worker-class trio with_starlette:web."""

from chat import app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


web = Starlette(routes=[Route("/", home), Mount("/api/webpubsub", app=app)])
# FastAPI: web = FastAPI(); web.mount("/api/webpubsub", app)
