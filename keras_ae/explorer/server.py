"""The server of the page: routes, checks of requests, and the thread in which it runs."""

import functools
import html
import ipaddress
import json
import socket
import threading
import time
import webbrowser

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keras_ae.core import arguments
from keras_ae.explorer.page_files import FILES, read_page

ACTIONS = ("decode", "look", "interpolate", "sample", "view")
MOST_BYTES = 4 * 2**20  # The body of a request may have so many.
_MISTAKES = (RuntimeError, TypeError, ValueError)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(views, host="127.0.0.1"):
    """Make the application, which answers the page's requests.

    Args:
        views: `Views` of the model.
        host: Name or address at which the server can be reached besides localhost and addresses.

    Returns:
        `starlette.applications.Starlette`.
    """

    async def answer(request, action):
        given = await _read_json(request)
        try:
            # The page sends the next request after this answer, so no queue forms in the threads.
            found = await run_in_threadpool(getattr(views, action), given)
        except _MISTAKES as error:
            return _refuse(400, f"{type(error).__name__}: {error}")
        return _to_json(found)

    async def show_state(request):
        return _to_json(await run_in_threadpool(views.state))

    def show_file(request, name):
        return Response(read_page(name), media_type=FILES[name], headers=_HEADERS)

    def refuse(request, error):
        return _refuse(error.status_code, error.detail, error.headers)

    def fail(request, error):
        return _refuse(500, "The server failed. Its output says why.")

    routes = [Route("/", functools.partial(show_file, name="index.html"))]
    routes += [Route(f"/{name}", functools.partial(show_file, name=name)) for name in FILES]
    routes.append(Route("/api/state", show_state))
    routes += [
        Route(f"/api/{action}", functools.partial(answer, action=action), methods=["POST"])
        for action in ACTIONS
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse, Exception: fail})
    app.router.redirect_slashes = False
    return _Guard(app, host)


class _Guard:
    """Refuses requests that come from pages of other sites.

    Such a page can give its own name the address of this machine. The browser then sends its
    requests here, with this name in the header Host.
    """

    def __init__(self, app, host):
        self.app, self.names = app, {"localhost", host.lower()}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
            hosts = [value for name, value in headers if name == "host"]
            origins = [value for name, value in headers if name == "origin"]
            if len(hosts) != 1 or not self._knows(hosts[0]):
                reply = _refuse(403, "The header Host names another server.")
                return await reply(scope, receive, send)
            if any(origin != f"http://{hosts[0]}" for origin in origins):
                reply = _refuse(403, "The header Origin names another site.")
                return await reply(scope, receive, send)
        return await self.app(scope, receive, send)

    def _knows(self, host):
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self.names:
            return True
        try:  # No other site can have an address as its name.
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def _read_json(request):
    """Return the dictionary in the body of a request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "Send the header Content-Type: application/json.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The body has more than {MOST_BYTES} bytes. Send less.")
    try:
        given = json.loads(bytes(body), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is no JSON: {str(error)[:200]}") from None
    if not isinstance(given, dict):
        raise HTTPException(400, "The body must be a JSON dictionary.")
    return given


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON.")


def _to_json(values):
    return JSONResponse(_without_nan(values), headers=_HEADERS)


def _without_nan(values):
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and values - values != 0.0 else values


def _refuse(status, message, headers=None):
    line = " ".join(str(message).split())[:1000]
    return JSONResponse({"error": line}, status, headers={**_HEADERS, **(headers or {})})


class Page:
    """A page that is being served, as `keras_ae.explore` returns it.

    It is a context manager, which closes the page at its end. In a notebook it shows itself.

    Attributes:
        url: Address of the page.
    """

    def __init__(self, views, host, port):
        port = arguments.integer("explore", "port", port, least=0, most=65_535)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise OSError(
                f"explore: host={host!r} and port={port} cannot be bound: {error.strerror}. Pass "
                "another port, or port=0 for a free one."
            ) from error
        port = self._socket.getsockname()[1]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
        config = uvicorn.Config(
            make_app(views, host),
            log_level="error",
            access_log=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        # uvicorn answers Ctrl-C itself if it runs in the main thread.
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)

    def open(self):
        """Open the page in the browser."""
        webbrowser.open(self.url)

    def wait(self):
        """Wait until the page is closed, or Ctrl-C is pressed."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self):
        """Stop the server, and wait until it has stopped."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __repr__(self):
        return f"<Page {self.url}>"

    def _repr_html_(self):
        address = html.escape(self.url)
        return (
            f'<iframe src="{address}" width="100%" height="820" style="border:0" '
            f'title="explorer of a latent space"></iframe><p><a href="{address}">{address}</a></p>'
        )
