"""The simulator's web application: requests from sockets to `Front`, and its answers back."""

from aiohttp import web

from fbsessiond import limits
from fbsessiond.simulator.exchange import Request, Response
from fbsessiond.simulator.front import Front


def application(front: Front) -> web.Application:
    """Return the application. Run it with `handler_cancellation`: who hangs up waits no longer."""

    async def serve(request: web.Request) -> web.StreamResponse:
        answer = await front.answer(
            Request(
                request.method,
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                dict(request.cookies),
                await request.read(),
            )
        )
        if answer is None:
            assert request.transport is not None, "who hangs up cancels this"  # noqa: S101  an invariant
            request.transport.abort()
            return web.Response()
        if answer.cut:
            return await _send_half(request, answer)
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
        )

    application = web.Application(client_max_size=limits.NOTIFICATION_BYTES)
    application.router.add_route("*", "/{path:.*}", serve)
    return application


async def _send_half(request: web.Request, answer: Response) -> web.StreamResponse:
    """Announce all of an answer's body, send half of it, and cut the connection."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    transport = request.transport
    assert transport is not None, "who hangs up cancels this"  # noqa: S101  an invariant
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    transport.abort()
    return response
