"""The routes: a simple one for photographs, and the Open Inference Protocol (v2) for pixels."""

import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from gitops.model.evaluation import Evaluation
from serving import page
from serving.addresses import Addresses
from serving.canary import Canary
from serving.clients import Client, Clients
from serving.errors import RefusedError
from serving.limits import Bounded, answer_refusal
from serving.others import Others
from serving.queue import Queue, Release
from serving.releases import Releases
from serving.search import Search, SearchAnswer
from serving.worker import Answer, Item

NAME = "face_attributes"  # of the model, in the protocol
HEIGHT, WIDTH = 218, 178
FILES = 16  # in a request
EXPLAINED = 8  # photographs that an explanation, a comparison or a search counts as
LARGEST_FILE, LARGEST = 32 << 20, 64 << 20  # bytes of a photograph, and of a request
LARGEST_JSON = 4 << 20  # bytes: while JSON is read, nobody else is answered
_PIXELS = HEIGHT * WIDTH * 3
_LENGTH = "Inference-Header-Content-Length"
_NO_NAMES: list[str] = []
_NO_FILES: list[UploadFile] = []


@dataclass(frozen=True)
class Service:
    """The parts of a service.

    Attributes:
        environment: The name of the environment.
        releases: Knows the release that answers.
        queue: Answers items.
        clients: Knows who may ask.
        sample: The share of answers that goes to the files of scores.
        others: Knows other releases, to compare with.
        search: Searches scored images.
        canary: Another model, which answers a share of the photographs.
        colors: The style sheet with the colors of the environment.
        addresses: Fetches photographs.

    """

    environment: str
    releases: Releases
    queue: Queue
    clients: Clients
    sample: float
    others: Others
    search: Search
    colors: str
    canary: Canary
    addresses: Addresses

    @property
    def release(self) -> Release:
        """The release that answers.

        Raises:
            RefusedError: There is none.

        """
        release = self.releases.current
        if release is None:
            raise RefusedError(503, f"no release answers: {self.releases.problem}", 5)
        return release

    async def ask(
        self, client: Client, items: Sequence[Item], key: bytes | None = None
    ) -> list[tuple[Answer, Release]]:
        """Answer items by the release, or by its canary.

        Args:
            client: Who asks.
            items: The items.
            key: Decides about all of them together; without it each content decides about its item.

        Raises:
            RefusedError: Too many items wait, or it takes too long.

        """
        picked = [self.canary.picks(item.content if key is None else key) for item in items]
        chosen = [item for item, one in zip(items, picked, strict=True) if one]
        theirs = await self.canary.ask(chosen, client.name) if chosen else []
        if theirs is None:
            picked, theirs = [False] * len(items), []
        left = [item for item, one in zip(items, picked, strict=True) if not one]
        ours = await self.queue.ask(left, client.name) if left else []
        self.canary.answered_by_release(len(left))
        both = {True: iter(theirs), False: iter(ours)}
        return [next(both[one]) for one in picked]

    def item(self, content: bytes | memoryview, kind: str) -> Item:
        """Return an item to ask about."""
        sampled = secrets.randbelow(1_000_000) < self.sample * 1_000_000
        return Item(content, kind, secrets.token_hex(8), sampled)


class Problem(BaseModel):
    """Why a request has no answer."""

    error: str


class Attribute(BaseModel):
    """An attribute of a face."""

    probability: float
    threshold: float = Field(description="A probability at or over it means that the attribute is there")
    present: bool


class FaceAnswer(BaseModel):
    """A face; `box` (left, top, right, bottom, in pixels) and `score` are null for an aligned photograph.

    `light` is the slice of the release's evaluation that the face belongs to by its brightness. `picture`, a
    JPEG in base64, and `maps` are there if the request asked for an explanation. A map has rows of numbers:
    how many percent the probability changes when that part of the picture is covered.
    """

    box: tuple[float, float, float, float] | None
    score: float | None
    light: str | None = None
    attributes: dict[str, Attribute]
    picture: str | None = None
    maps: dict[str, list[list[int]]] | None = None


class PhotographAnswer(BaseModel):
    """The faces of a photograph from left to right, or the reason why it cannot be used.

    The release that answered may change between two photographs of a request.
    """

    name: str
    release: str
    model_sha256: str
    faces: list[FaceAnswer] = []
    error: str | None = None


class Prediction(BaseModel):
    """The answers, in the order of the files."""

    photographs: list[PhotographAnswer]


class CanaryAnswer(BaseModel):
    """A model that answers a share of the photographs in place of the release's.

    `answered` are the photographs and faces of tensors that it answered, `by_release` those that the release
    answered meanwhile, and `failed` those that it failed on: the release answered them. All three are of the
    process `counted_by` alone, since it began; the report of the environment counts the sampled photographs
    of all processes.
    """

    release: str
    share: int = Field(description="In percent")
    counted_by: str = Field(description="The host, such as a pod, and the process that counted")
    answered: int
    by_release: int
    failed: int
    problem: str | None = Field(description="Why it answers nothing, if it does not")


class ReleaseAnswer(BaseModel):
    """The release that answers, and its evaluation on images that no training saw."""

    environment: str
    release: str
    model_sha256: str
    attributes: list[str]
    problem: str | None = Field(description="Why the declared release does not answer, if it does not")
    evaluation: Evaluation | None
    canary: CanaryAnswer | None = Field(description="The canary that main declares, if it does")


class OtherRelease(BaseModel):
    """A release that main declares, and the environments for which it does so."""

    release: str
    environments: list[str]


class ServerMetadata(BaseModel):
    """The server, in the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor, in the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model, in the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RequestParameters(BaseModel):
    """The parameters of a request that mean something here; others are ignored."""

    binary_data_output: bool = Field(default=False, description="Send the probabilities as binary data")


class InputTensor(BaseModel):
    """Aligned faces, uint8 RGB."""

    name: str = Field(pattern="^images$")
    datatype: str = Field(pattern="^UINT8$")
    shape: list[int] = Field(min_length=4, max_length=4)
    data: list[Any] | None = Field(None, description="Numbers from 0 to 255, flat or nested")
    parameters: dict[str, Any] = {}


class InferenceRequest(BaseModel):
    """A request of the Open Inference Protocol."""

    id: str | None = Field(None, max_length=256)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    parameters: RequestParameters = RequestParameters()
    outputs: list[dict[str, Any]] = Field([], max_length=8)


class OutputTensor(BaseModel):
    """The probabilities, a row for each face."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | None = Field(default=None, description="Null if they follow as binary data")
    parameters: dict[str, int] = {}


class InferenceResponse(BaseModel):
    """A response of the Open Inference Protocol."""

    model_name: str
    model_version: str = Field(description="The release that answered")
    id: str | None
    outputs: list[OutputTensor]


async def service_of(request: Request) -> Service:
    """Return the service, and refuse a request that a page of another site sent."""
    _refuse_other_sites(request)
    return request.app.state.service


async def client_of(request: Request, service: Annotated[Service, Depends(service_of)]) -> Client:
    """Return the client of a request."""
    return _identify(request, service.clients)


def _refuse_other_sites(request: Request) -> None:
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        raise RefusedError(403, "requests of other sites' pages are refused")


def _identify(request: Request, clients: Clients) -> Client:
    address = request.client.host if request.client else ""
    headers = request.headers
    return clients.identify(headers.get("authorization", ""), address, headers.get("host", ""))


_Service = Annotated[Service, Depends(service_of)]


async def uploader_of(client: Annotated[Client, Depends(client_of)]) -> Client:
    """Return the client of a request that brings photographs."""
    client.require("uploader")
    return client


async def reader_of(client: Annotated[Client, Depends(client_of)]) -> Client:
    """Return the client of a request for images that others sent."""
    client.require("reader")
    return client


_Client = Annotated[Client, Depends(client_of)]
_Uploader = Annotated[Client, Depends(uploader_of)]
_Reader = Annotated[Client, Depends(reader_of)]
_Named = Annotated[str, Path(pattern=f"^{NAME}$")]
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 408, 413, 422, 429, 503)
}
routes = APIRouter(responses=_REFUSALS)


@routes.get("/healthz", tags=["health"])
@routes.get("/v2/health/live", tags=["protocol"])
async def live(_: _Service) -> dict[str, bool]:
    """Answer if the service runs."""
    return {"live": True}


@routes.get("/readyz", tags=["health"])
@routes.get("/v2/health/ready", tags=["protocol"])
async def ready(service: _Service) -> dict[str, bool]:
    """Answer if a release is ready to answer."""
    return {"ready": bool(service.release)}


@routes.get("/v2/models/{name}/ready", tags=["protocol"])
async def model_ready(service: _Service, name: _Named) -> dict[str, Any]:
    """Answer if the model is ready to answer."""
    return {"name": name, "ready": bool(service.release)}


@routes.get("/release", tags=["photographs"])
async def release(service: _Service, _: _Client) -> ReleaseAnswer:
    """Name the release that answers, its model, and its attributes."""
    current = service.release
    return ReleaseAnswer(
        environment=service.environment,
        release=current.commit,
        model_sha256=current.model.model_sha256,
        attributes=current.model.attributes,
        problem=service.releases.problem,
        evaluation=service.releases.evaluation,
        canary=_canary(service.canary),
    )


def _canary(canary: Canary) -> CanaryAnswer | None:
    if canary.share is None:
        return None
    count = canary.count
    return CanaryAnswer(
        release=canary.share.commit,
        share=canary.share.percent,
        counted_by=f"{socket.gethostname()} {os.getpid()}",
        answered=count.canary,
        by_release=count.release,
        failed=count.failed,
        problem=canary.problem,
    )


@routes.post("/predict", tags=["photographs"])
async def predict(
    service: _Service,
    client: _Uploader,
    files: Annotated[list[UploadFile], File(description="JPEG, PNG, WebP or HEIC")] = _NO_FILES,
    urls: Annotated[
        list[Annotated[str, Field(max_length=2048)]],
        Form(description="Addresses of photographs, where the environment allows their hosts"),
    ] = _NO_NAMES,
) -> Prediction:
    """Find the faces in photographs, and answer the attributes of each: first those of the files."""
    count = len(files) + len(urls)
    if not 1 <= count <= FILES:
        raise RefusedError(413 if count else 422, f"files: {count} photographs; send 1 to {FILES}")
    contents = [await file.read(LARGEST_FILE + 1) for file in files]
    service.clients.spend(client.name, count)
    async with service.addresses.fetched(urls, LARGEST_FILE, LARGEST) as fetched:
        items = [service.item(content, "photograph") for content in (*contents, *fetched)]
        answers = await service.ask(client, items)
    names = [*(file.filename or "" for file in files), *urls]
    return Prediction(
        photographs=[
            _photograph(name, answer, release) for name, (answer, release) in zip(names, answers, strict=True)
        ]
    )


@routes.post("/explain", tags=["photographs"])
async def explain(
    service: _Service, client: _Uploader, file: Annotated[UploadFile, File(description="A photograph")]
) -> PhotographAnswer:
    """Answer a photograph as /predict does, with a map for each attribute of each face."""
    content = await file.read(LARGEST_FILE + 1)
    service.clients.spend(client.name, EXPLAINED)
    item = Item(content, "photograph", secrets.token_hex(8), sampled=False, explained=True)
    ((answer, release),) = await service.queue.ask([item], client.name)
    return _photograph(file.filename or "", answer, release)


@routes.get("/releases", tags=["photographs"])
async def releases(service: _Service, _: _Client) -> list[OtherRelease]:
    """List the releases to compare with."""
    found = await service.others.releases()
    return [OtherRelease(release=commit, environments=list(names)) for commit, names in found.items()]


@routes.post("/compare", tags=["photographs"])
async def compare(
    service: _Service,
    client: _Uploader,
    release: Annotated[str, Query(pattern="^[0-9a-f]{40}$", description="One of /releases")],
    file: Annotated[UploadFile, File(description="A photograph")],
) -> PhotographAnswer:
    """Answer a photograph by another release. The first answer waits until that release has started."""
    content = await file.read(LARGEST_FILE + 1)
    service.clients.spend(client.name, EXPLAINED)
    (answer,), by = await service.others.answer(release, [Item(content, "photograph", "", sampled=False)])
    return _photograph(file.filename or "", answer, by)


@routes.get("/search", tags=["photographs"])
async def search(
    service: _Service,
    client: _Reader,
    has: Annotated[list[str], Query(max_length=8, description="Attributes of a face")] = _NO_NAMES,
    lacks: Annotated[list[str], Query(max_length=8, description="Attributes that it has not")] = _NO_NAMES,
    most: Annotated[int, Query(ge=1, le=100)] = 24,
) -> SearchAnswer:
    """Search the scored images of this environment, the newest first. Who saw photographs is recorded."""
    service.clients.spend(client.name, EXPLAINED)
    return await service.search(client.name, has, lacks, most)


def _photograph(name: str, answer: Answer, release: Release) -> PhotographAnswer:
    model = release.model
    faces = [
        FaceAnswer(
            **face.place.model_dump(),
            attributes={
                attribute: Attribute(probability=value, threshold=threshold, present=value >= threshold)
                for attribute, value, threshold in zip(
                    model.attributes, face.probabilities, model.thresholds, strict=True
                )
            },
        )
        for face in answer.faces
    ]
    return PhotographAnswer(
        name=name,
        release=release.commit,
        model_sha256=model.model_sha256,
        faces=faces,
        error=answer.error,
    )


@routes.get("/v2", tags=["protocol"])
async def server(_: _Service) -> ServerMetadata:
    """Describe the server."""
    return ServerMetadata(name="visage", version="1", extensions=["binary_tensor_data"])


@routes.get("/v2/models/{name}", tags=["protocol"])
async def metadata(service: _Service, _: _Client, name: _Named) -> ModelMetadata:
    """Describe the model."""
    outputs = TensorMetadata(
        name="probabilities", datatype="FP32", shape=[-1, len(service.release.model.attributes)]
    )
    return ModelMetadata(
        name=name,
        versions=[service.release.commit],
        platform="onnxruntime_onnx",
        inputs=[TensorMetadata(name="images", datatype="UINT8", shape=[-1, HEIGHT, WIDTH, 3])],
        outputs=[outputs],
    )


@routes.post(
    "/v2/models/{name}/infer",
    tags=["protocol"],
    response_model=InferenceResponse,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": InferenceRequest.model_json_schema()}},
        }
    },
)
async def infer(request: Request, service: _Service, client: _Uploader, name: _Named) -> Response:
    """Answer the attributes of aligned faces. The data of the tensors may be binary."""
    header, faces = _tensor(await request.body(), request.headers)
    service.clients.spend(client.name, len(faces))
    items = [service.item(face, "pixels") for face in faces]
    key = b"".join(faces)
    answers = await service.ask(client, items, key)
    while len({release.commit for _, release in answers}) > 1:
        # The release changed meanwhile, and a tensor is of one model
        answers = await service.ask(client, items, key)
    rows = [answer.faces[0].probabilities for answer, _ in answers]
    release = answers[0][1]
    tensor = OutputTensor(name="probabilities", datatype="FP32", shape=[len(rows), len(rows[0])])
    binary = b""
    if header.parameters.binary_data_output:
        binary = b"".join(row.tobytes() for row in rows)
        tensor.parameters = {"binary_data_size": len(binary)}
    else:
        tensor.data = [value for row in rows for value in row]
    response = InferenceResponse(
        model_name=name, model_version=release.commit, id=header.id, outputs=[tensor]
    )
    content = response.model_dump_json(exclude_none=bool(binary)).encode()
    if not binary:
        return Response(content, media_type="application/json")
    headers = {_LENGTH: str(len(content))}
    return Response(content + binary, headers=headers, media_type="application/octet-stream")


def _tensor(body: bytes, headers: Headers) -> tuple[InferenceRequest, list[memoryview]]:
    """Return the request and the pixels of each face, from JSON or with binary data behind it."""
    length = headers.get(_LENGTH, "")
    if length and (not re.fullmatch("[0-9]{1,9}", length) or int(length) > len(body)):
        raise RefusedError(400, f"{_LENGTH}: not the length of the JSON in this request")
    end = int(length) if length else len(body)
    if end > LARGEST_JSON:
        problem = f"more than {LARGEST_JSON >> 20} MiB of JSON; send the pixels as binary data"
        raise RefusedError(413, problem)
    try:
        header = InferenceRequest.model_validate_json(body[:end])
    except ValueError as error:
        raise RefusedError(400, f"not a request of the Open Inference Protocol: {_first(error)}") from None
    (tensor,) = header.inputs
    count, *shape = tensor.shape
    if shape != [HEIGHT, WIDTH, 3] or not 1 <= count <= LARGEST // _PIXELS:
        raise RefusedError(400, f"inputs: shape: must be [N, {HEIGHT}, {WIDTH}, 3], with N from 1")
    if length:
        pixels = memoryview(body)[end:]
    else:
        try:
            pixels = memoryview(bytes(_flat(tensor.data or [])))
        except (ValueError, TypeError, RecursionError):
            raise RefusedError(400, "inputs: data: must be whole numbers from 0 to 255") from None
    if len(pixels) != count * _PIXELS:
        raise RefusedError(400, f"inputs: data: {len(pixels)} numbers, the shape takes {count * _PIXELS}")
    return header, [pixels[start : start + _PIXELS] for start in range(0, len(pixels), _PIXELS)]


def _flat(data: list[Any]) -> list[Any]:
    for _ in range(3):
        if data and isinstance(data[0], list):
            data = [value for part in data for value in part]
    return data


def _first(error: ValueError) -> str:
    return " ".join(str(error).splitlines()[1:3])[:200]


def make(service: Service) -> FastAPI:
    """Return the app of a service."""
    app = FastAPI(
        title=f"Visage {service.environment}",
        description="Attributes of faces in photographs. Not for decisions about people: see docs/data.md.",
        version="1",
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(routes)
    page.add(app, service.environment, service.colors)

    def name_of(request: Request) -> str:
        _refuse_other_sites(request)
        return _identify(request, service.clients).name

    app.add_middleware(Bounded, largest=LARGEST, identify=name_of)

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, refusal: RefusedError) -> Response:
        return answer_refusal(refusal)

    @app.exception_handler(HTTPException)
    async def fail(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, first['loc']))}: {first['msg']}"}, 422)

    return app
