"""Run the app as an Azure Function; in host.json, "routePrefix" of "extensions.http" is "api"."""

from functools import partial
from urllib.parse import unquote, urlsplit

import azure.functions as func
import trio
from chat import app

functions = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@functions.function_name("webpubsub")
@functions.route(route="webpubsub/hubs/chat/{*event}", methods=["POST", "OPTIONS", "GET"])
def events(req: func.HttpRequest) -> func.HttpResponse:  # not async: it runs in a thread, which trio may have
    path = unquote(urlsplit(req.url).path)
    answer = trio.run(partial(app.handle_request, req.method, path, dict(req.headers), req.get_body()))
    return func.HttpResponse(answer.body, status_code=answer.status, headers=dict(answer.headers))
