"""The Open Inference Protocol, version 2, over HTTP: tensors as JSON or binary, as Triton's clients speak it.

The input `image` has pixels as files hold them, [C, H, W] or [N, C, H, W]; the outputs are `probabilities`
[N, K, H, W] FP32 and `labels` [N, H, W]. Images of one request have one size; any size goes in. Tensors are
little-endian and in C order. Shared memory, compressed bodies and classification are not there.

Source: https://github.com/kserve/open-inference-protocol, and Triton's binary tensor data extension.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from unetkit.devices import cpu_threads
from unetkit.errors import DataError
from unetkit.images.image import as_pixels
from unetkit.serving.api import Service, line_of, over, owner_of, service_of
from unetkit.serving.jobs import Job
from unetkit.serving.served import Served
from unetkit.version import __version__

_TYPES = {
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_LARGEST_HEAD = 2**24
_LARGEST_BODY = 2**29
_MOST_IN_JSON = 2**22
_IN_PYTHON = 20
"""Bytes that a byte of JSON takes as Python's numbers."""

_LENGTH = "inference-header-content-length"


class _Tensor(BaseModel):
    """An input, or an output that is asked for."""

    model_config = ConfigDict(extra="ignore")
    name: Annotated[str, Field(max_length=100)]
    datatype: Annotated[str, Field(max_length=10)] = ""
    shape: Annotated[list[Annotated[int, Field(ge=1, le=2**31)]], Field(max_length=4)] = []
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Asked(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="ignore")
    id: Annotated[str, Field(max_length=200)] = ""
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[_Tensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[_Tensor], Field(max_length=2)] = []


@dataclass(frozen=True, slots=True)
class _Input:
    """What a request holds: images [N, C, H, W], and which outputs it asks for, each whether in binary."""

    asked: _Asked
    images_NCHW: NDArray[Any]
    outputs: dict[str, bool]


def _outputs_of(served: Served) -> dict[str, dict[str, Any]]:
    """Return the outputs of a network by name."""
    classes = len(served.predictor.classes)
    kind = "UINT8" if served.predictor.label_type is np.uint8 else "UINT16"
    labels = {"name": "labels", "datatype": kind, "shape": [-1, -1, -1]}
    if served.predictor.card.outputs_labels:
        return {"labels": labels}
    return {
        "probabilities": {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes, -1, -1]},
        "labels": labels,
    }


async def live(request: Request) -> Response:
    """Tell that the server lives."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    """Tell whether the server takes requests: not when it is about to end."""
    ends = request.state.draining()
    return JSONResponse({"ready": not ends}, 503 if ends else 200)


async def server(request: Request) -> Response:
    """Describe the server."""
    return JSONResponse({"name": "unetkit", "version": __version__, "extensions": ["binary_tensor_data"]})


def _served(request: Request) -> Served:
    if request.path_params.get("version", "1") != "1":
        raise HTTPException(404, "every model has the one version 1")
    return service_of(request).model(request.path_params["model"])


async def model(request: Request) -> Response:
    """Describe a network."""
    served = _served(request)
    channels = served.predictor.card.channels
    given = [{"name": "image", "datatype": "FP32", "shape": [-1, channels, -1, -1]}]
    outputs = list(_outputs_of(served).values())
    return JSONResponse(
        {"name": served.name, "versions": ["1"], "platform": "unetkit", "inputs": given, "outputs": outputs}
    )


async def model_ready(request: Request) -> Response:
    """Tell that a network is loaded."""
    return JSONResponse({"name": _served(request).name, "ready": True})


async def infer(request: Request) -> Response:
    """Compute the outputs of images."""
    service, served, owner = service_of(request), _served(request), owner_of(request)
    service.jobs.require_room(owner)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "compressed bodies are not taken; send the tensors as they are")
    length = int(request.headers.get("content-length", _LARGEST_BODY))
    if length > _LARGEST_BODY:
        raise HTTPException(413, f"a body has {_LARGEST_BODY:,} bytes at most here; send fewer images at once")
    with service.memory.of(length if _LENGTH in request.headers else min(length, _LARGEST_HEAD) * _IN_PYTHON):
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > (length if _LENGTH in request.headers else _LARGEST_HEAD):
                raise HTTPException(413, f"JSON has {_LARGEST_HEAD:,} bytes at most; send tensors as binary data")
        given = await service.in_thread(_read, served, bytes(body), request.headers.get(_LENGTH))
        del body
        count, _, height, width = given.images_NCHW.shape
        held = count * height * width * 8 * (1 + len(served.predictor.classes))
        with service.memory.of(held):
            return await _infer(request, service, served, owner, given)


async def _infer(request: Request, service: Service, served: Served, owner: str, given: _Input) -> Response:
    made = dict[str, NDArray[Any]]()

    def work(job: Job) -> None:
        made.update(_compute(served, given, job))

    megapixels = given.images_NCHW[:, 0].size / 1e6
    job = Job(owner, work, service.uploads.new_folder(), megapixels, service.max_seconds)
    service.jobs.add(job, line=line_of(megapixels))
    try:
        await over(request, job, service.max_seconds + 60)
    finally:
        service.jobs.remove(job)
    if job.state != "done":
        raise HTTPException(422, job.error or "it was cancelled")
    return await service.in_thread(_answer, served, given, made)


def _compute(served: Served, given: _Input, job: Job) -> dict[str, NDArray[Any]]:
    """Return the outputs that are asked for."""
    predictor, images = served.predictor, given.images_NCHW
    probabilities, labels = list[NDArray[np.float32]](), list[NDArray[Any]]()
    job.update(0, len(images), {})
    with cpu_threads(None):
        for number, p_KHW in enumerate(predictor.probabilities_of(list(images)), 1):
            if "labels" in given.outputs:
                labels.append(predictor.decided(torch.from_numpy(p_KHW)).astype(predictor.label_type))
            if "probabilities" in given.outputs:
                probabilities.append(p_KHW)
            job.update(number, len(images), {})
    found = {"probabilities": probabilities, "labels": labels}
    return {name: np.stack(found[name]) for name in given.outputs}


def _read(served: Served, body: bytes, length: str | None) -> _Input:
    """Read a request.

    Raises:
        HTTPException: 400, it is not as the protocol says.
        DataError: pixels that no image has.
    """
    if length is not None and not (length.isascii() and length.isdecimal() and int(length[:12]) <= len(body)):
        raise HTTPException(400, f"{_LENGTH} {length[:20]!r}: the body has {len(body):,} bytes")
    head = body if length is None else body[: int(length)]
    if len(head) > _LARGEST_HEAD:
        raise HTTPException(413, f"JSON has {_LARGEST_HEAD:,} bytes at most; send tensors as binary data")
    try:
        asked = _Asked.model_validate(json.loads(head))
    except (ValidationError, ValueError, RecursionError) as failure:
        where = failure.errors()[0] if isinstance(failure, ValidationError) else {"loc": (), "msg": "not JSON"}
        place = ".".join(map(str, where["loc"]))
        raise HTTPException(400, f"not a request of the protocol: {place or 'body'}: {where['msg'][:200]}") from None
    tensor, known = asked.inputs[0], _outputs_of(served)
    if tensor.name != "image" or tensor.datatype not in _TYPES or len(tensor.shape) not in (3, 4):
        raise HTTPException(
            400,
            f"found the input {tensor.name!r}, {tensor.datatype!r}, {tensor.shape}; expected image, one of "
            f"{', '.join(_TYPES)}, [C, H, W] or [N, C, H, W]",
        )
    if {"shared_memory_region", "classification"} & {
        key for one in (tensor, *asked.outputs) for key in one.parameters
    } or any(one.name not in known for one in asked.outputs):
        raise HTTPException(400, f"outputs: {', '.join(known)} are there, as JSON or binary data")
    values = _values(tensor, memoryview(body)[len(head) :])
    images = values[None] if values.ndim == 3 else values
    served.predictor.require_usable(images.shape[1:])
    if not served.predictor.takes(images.shape[1]):
        raise DataError(
            f"image: has {images.shape[1]} channels, but the network was trained on images with "
            f"{served.predictor.card.channels}; give images like those of the training"
        )
    binary = bool(asked.parameters.get("binary_data_output", False))
    outputs = {one.name: bool(one.parameters.get("binary_data", binary)) for one in asked.outputs}
    return _Input(asked, as_pixels(images, "image"), outputs or dict.fromkeys(known, binary))


def _values(tensor: _Tensor, binary: memoryview) -> NDArray[Any]:
    """Return the values of a tensor in its shape.

    Raises:
        HTTPException: 400, they are not as many, or no numbers.
    """
    dtype, wanted = _TYPES[tensor.datatype], math.prod(tensor.shape)
    if tensor.data is None:
        size = tensor.parameters.get("binary_data_size")
        if size != len(binary) or size != wanted * dtype.itemsize:
            raise HTTPException(
                400,
                f"image: binary_data_size {str(size)[:20]} and {len(binary):,} bytes of binary data; "
                f"{tensor.datatype} of {tensor.shape} has {wanted * dtype.itemsize:,}",
            )
        return np.frombuffer(binary, dtype).reshape(tensor.shape)
    try:
        with np.errstate(over="raise"):
            values = np.array(tensor.data, np.float64 if dtype.kind == "f" else None).reshape(tensor.shape)
            if dtype.kind != "f" and values.dtype.kind not in "iu":
                raise ValueError("no whole numbers")
            stored = values.astype(dtype)
            if dtype.kind != "f" and not np.array_equal(stored, values):
                raise ValueError(f"values beyond {tensor.datatype}")
            return stored
    except (ValueError, TypeError, OverflowError, FloatingPointError) as failure:
        raise HTTPException(
            400, f"image: its data are not {tensor.datatype} of {tensor.shape} ({str(failure)[:100]})"
        ) from None


def _answer(served: Served, given: _Input, made: dict[str, NDArray[Any]]) -> Response:
    """Write the outputs: those in binary after the JSON, in its order."""
    described, binary, known = list[dict[str, Any]](), list[bytes](), _outputs_of(served)
    for name, in_binary in given.outputs.items():
        values, kind = made[name], known[name]["datatype"]
        entry: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(values.shape)}
        if in_binary:
            binary.append(np.ascontiguousarray(values, _TYPES[kind]).tobytes())
            entry["parameters"] = {"binary_data_size": len(binary[-1])}
        elif values.size > _MOST_IN_JSON:
            raise HTTPException(400, f"{name}: {values.size:,} values are too many for JSON; ask for binary data")
        else:
            entry["data"] = values.ravel().tolist()
        described.append(entry)
    content = {"model_name": served.name, "model_version": "1", "outputs": described}
    head = json.dumps(content | ({"id": given.asked.id} if given.asked.id else {})).encode()
    if not binary:
        return Response(head, media_type="application/json")
    return Response(b"".join([head, *binary]), media_type="application/octet-stream", headers={_LENGTH: str(len(head))})


def _model_routes(prefix: str) -> Sequence[Route]:
    return (
        Route(prefix, model),
        Route(f"{prefix}/ready", model_ready),
        Route(f"{prefix}/infer", infer, methods=["POST"]),
    )


ROUTES = [
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    Route("/v2", server),
    *_model_routes("/v2/models/{model}"),
    *_model_routes("/v2/models/{model}/versions/{version}"),
]
