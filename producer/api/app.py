"""The routes.  Plain ``def`` ones run on the framework's threads, where they may block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, Final
from uuid import UUID

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Form, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from jobs.errors import JobNotFound, JobsError, Unavailable
from jobs.ledger import JobFilter
from jobs.model import Job, JobId
from jobs.states import JobState
from producer.api import problems
from producer.api.forms import EditForm
from producer.api.head import HeadAsGet
from producer.api.limits import MAX_FIELDS, MAX_FILES, BoundedBody
from producer.api.page import page
from producer.api.schemas import EditPage, EditView, Health, Problem
from producer.api.schemas import problems as declared
from producer.api.views import answer, page_json, path
from producer.client import Client

FORM: Final = "multipart/form-data"
#: A ledger that takes longer is not one to send work to.
PROBE_TIMEOUT: Final = 3.0  # seconds
TWICE: Final = "given twice"
#: Probes of a ledger that has stopped pile up no further than this.
PROBES: Final = 2


async def _client(request: Request) -> Client:
    client: Client = request.app.state.client
    return client


async def _is_form(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise HTTPException(415, f"send {FORM}, not {kind or 'a body without a Content-Type'}")


async def _names_filters(request: Request) -> None:
    """What would be ignored is refused: a misspelt filter would list everything."""
    known = [one.alias for one in request.scope["route"].dependant.query_params]
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = f"unknown filter; there are {', '.join(known)}"
    wrong = {name: unknown for name in given if name not in known}
    _refuse("query", {**dict.fromkeys(_repeated(given), TWICE), **wrong})


async def _names_fields_once(request: Request) -> None:
    """The framework would take the last one; pictures alone are many."""
    given = [name for name, _ in (await request.form()).multi_items()]
    wrong = [name for name in _repeated(given) if name not in {"image", "image[]"}]
    _refuse("body", dict.fromkeys(wrong, TWICE))


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _refuse(place: str, wrong: Mapping[str, str]) -> None:
    if wrong:
        errors = [{"type": place, "loc": (place, name), "msg": wrong[name]} for name in wrong]
        raise RequestValidationError(errors)


Caller = Annotated[Client, Depends(_client)]

edits: Final = APIRouter(prefix="/v1/edits", tags=["edits"])
health: Final = APIRouter(tags=["health"])
people: Final = APIRouter(include_in_schema=False)


@edits.post(
    "",
    status_code=202,
    response_model=EditView,
    dependencies=[Depends(_is_form), Depends(_names_fields_once)],
    responses={
        200: {"model": EditView, "description": "The same request was made before, and is done."},
        **declared(400, 413, 415, 422, 503),
    },
)
def submit(
    client: Caller,
    form: Annotated[EditForm, Form(media_type=FORM)],
    idempotency_key: Annotated[
        str | None,
        Header(description="At most 255 characters. Left out: derived from the content."),
    ] = None,
) -> Response:
    """Accept an edit. The same key, or without one the same content, is the same job."""
    return _accepted(client, client.submit(form.edit(idempotency_key)))


@edits.get(
    "",
    response_model=EditPage,
    dependencies=[Depends(_names_filters)],
    responses=declared(422, 503),
)
def list_edits(  # noqa: PLR0913 - each is a field of the query
    *,
    client: Caller,
    state: JobState | None = None,
    batch: Annotated[str | None, Query(description="The edits of this batch.")] = None,
    suspect: Annotated[
        bool, Query(description="`true`: only those whose picture a person should look at.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=500, description="1 to 500.")] = 100,
    before: Annotated[UUID | None, Query(description="Older than this edit.")] = None,
) -> JSONResponse:
    """List edits, newest first."""
    where = JobFilter(
        tenant=client.tenant,
        state=state,
        batch=batch,
        suspect=suspect,
        before=JobId(before) if before else None,
    )
    # A response of our own: the framework would spell instants its own way.
    return JSONResponse(page_json(client.list(where, limit=limit + 1), where, limit=limit))


@edits.get(
    "/{job_id}",
    response_model=EditView,
    responses={304: {"description": "As `If-None-Match` has it."}, **declared(404, 422, 503)},
)
def status(
    client: Caller,
    job_id: UUID,
    if_none_match: Annotated[str, Header(description="The `ETag` of an earlier answer.")] = "",
) -> Response:
    """Tell how an edit stands; cheap to poll with `If-None-Match`."""
    return answer(client, _own(client, job_id), unless=if_none_match)


@edits.get(
    "/{job_id}/result",
    status_code=307,
    response_class=RedirectResponse,
    responses={307: {"description": "To the picture."}, **declared(404, 409, 422, 503)},
)
def result(client: Caller, job_id: UUID) -> RedirectResponse:
    """Redirect to the picture."""
    link = client.link(_own(client, job_id))
    return RedirectResponse(link, headers={"Cache-Control": "no-store"})


@edits.post(
    "/{job_id}/cancel",
    response_model=EditView,
    responses={
        202: {"model": EditView, "description": "It is running, and stops within a step."},
        **declared(404, 422, 503),
    },
)
def cancel(client: Caller, job_id: UUID) -> Response:
    """Withdraw an edit. One that is finished stays as it is; asking twice is no error."""
    _own(client, job_id)
    job = client.cancel(JobId(job_id), who="api")
    return answer(client, job, 200 if job.state.is_final else 202)


@edits.post(
    "/{job_id}/replay",
    status_code=202,
    response_model=EditView,
    responses={
        200: {"model": EditView, "description": "It was replayed before, and that job is done."},
        **declared(404, 409, 422, 503),
    },
)
def replay(client: Caller, job_id: UUID) -> Response:
    """Run a failed or cancelled edit again, as a new one. Asking twice makes one."""
    _own(client, job_id)
    (outcome,) = client.replay([JobId(job_id)], who="api")
    if isinstance(outcome, JobsError):
        raise outcome
    return _accepted(client, outcome.job)


def _accepted(client: Client, job: Job) -> Response:
    response = answer(client, job, 200 if job.state.is_final else 202)
    response.headers["Location"] = path(job)
    return response


def _own(client: Client, job_id: UUID) -> Job:
    """Another tenant's job is none."""
    job = client.status(JobId(job_id))
    if job.tenant != client.tenant:
        raise JobNotFound(f"no job {job_id}")
    return job


@health.get("/livez", response_model=Health)
async def livez() -> dict[str, str]:
    """Whether this process answers at all: asks nobody, and waits for no thread."""
    return {"status": "live"}


@health.get("/readyz", response_model=Health, responses=declared(503))
async def readyz(request: Request, client: Caller) -> dict[str, str]:
    """Whether the ledger answers."""
    with anyio.move_on_after(PROBE_TIMEOUT):
        await to_thread.run_sync(
            client.ledger.get_many, [], abandon_on_cancel=True, limiter=request.app.state.probes
        )
        return {"status": "ready"}
    raise Unavailable(f"the ledger has not answered for {PROBE_TIMEOUT:g} s")


@people.get("/")
async def home() -> RedirectResponse:
    return RedirectResponse("docs")


@people.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(page(request.app.openapi(), base=str(request.base_url)))


class Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """With the schema that no route returns by itself."""
        described = super().openapi()
        described["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return described


def create_app(client: Client) -> FastAPI:
    """The API over a client, which stays the caller's to close."""
    app = Api(
        title="Packshot",
        version=version("packshot"),
        description="Edits product photographs by instruction.",
        form_limits={"max_fields": MAX_FIELDS, "max_files": MAX_FILES},
        docs_url=None,  # the framework's pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.client = client
    app.state.probes = CapacityLimiter(PROBES)
    problems.install(app)
    app.add_middleware(BoundedBody)
    app.add_middleware(HeadAsGet)
    app.include_router(edits)
    app.include_router(health)
    app.include_router(people)
    return app
