"""Everything that goes wrong, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from jobs.errors import InvalidRequest, JobsError, Unavailable

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
#: Seconds after which asking again may help, where a service of ours does not answer.
RETRY_AFTER: Final = {"Retry-After": "5"}
#: What is wrong with the request before any of our own code has seen it.
CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
#: The framework's words, and ours.
REWORDED: Final = {
    "Value error, Expected UploadFile": "not a file: its part needs a filename",
    "Extra inputs are not permitted": "unknown field",
    "Field required": "missing",
}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> JSONResponse:
    body = {
        "type": f"urn:packshot:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error with a problem, those of the framework included."""
    app.add_exception_handler(JobsError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_fields)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_a_crash)


async def _of_ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, JobsError)
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return await _of_a_crash(request, error)
    away = isinstance(error, Unavailable)
    if away:
        log.warning("service_away", extra={"reason": str(error), "path": request.url.path})
    headers = RETRY_AFTER if away else None
    return problem(error.http_status, error.code, str(error), headers=headers)


async def _of_fields(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [_field(item) for item in error.errors()]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
    return problem(InvalidRequest.http_status, InvalidRequest.code, detail, errors=errors)


def _field(item: Mapping[str, Any]) -> dict[str, str]:
    """Which field, without the place it came in; never what it held."""
    _place, *names = item["loc"]
    message = str(item["msg"])
    for theirs, ours in REWORDED.items():
        if message.startswith(theirs):
            message = ours
    field = ".".join(str(name)[:100] for name in names) or "request"
    return {"field": field, "message": message.removeprefix("Value error, ")}


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "refused")
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = f"{request.method} {request.url.path}: {detail}"
    return problem(error.status_code, code, detail, headers=error.headers)


async def _of_a_crash(request: Request, error: Exception) -> JSONResponse:
    """One of the two edges where anything may arrive: logged whole, answered without internals."""
    log.error(
        "request_crashed",
        exc_info=error,
        extra={"method": request.method, "path": request.url.path},
    )
    return problem(500, JobsError.code, "a fault of ours; the server's log has the details")
