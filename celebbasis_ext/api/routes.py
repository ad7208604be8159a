"""The routes: each reads a form, calls what the tab calls, and words the reply."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from celebbasis_ext import __version__
from celebbasis_ext.api import models
from celebbasis_ext.api.errors import InvalidRequest, LineTooLong, NoConsent, NotHere, said
from celebbasis_ext.api.replies import encoder_reply, faces_reply, inspect_reply, job_reply, person_reply
from celebbasis_ext.api.route import Guard, guarded_route
from celebbasis_ext.api.uploads import checked_text, decoded, embedding_from, photos_from, phrases_from
from celebbasis_ext.config_rules import checked
from celebbasis_ext.errors import CelebBasisError, InvalidSettings, MissingPackage
from celebbasis_ext.jobs import Order
from celebbasis_ext.people_actions import PeopleActions
from celebbasis_ext.studio import Studio
from celebbasis_ext.training_job import PreviewWish
from celebbasis_ext.types import LoraConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

    from celebbasis_ext.context import Context
    from celebbasis_ext.job_queue import Job

PREFIX = "/celebbasis/v1"
MOST_PARENTS = 16
LONGEST_LINE = 8
"""Jobs that may wait; each holds its photos."""
PACKAGES = {"PIL": "Pillow", "cv2": "opencv-python-headless", "safetensors": "safetensors", "sklearn": "scikit-learn"}
"""{module: what pip calls it}; whoever lacks torch has no checkpoint either."""

_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "The picture."}}
_NAME = Path(..., description="The trigger word.")
_JOB = Path(..., description="From the reply to the order.")


def add_routes(app: FastAPI, context: Context, guards: Sequence[Guard] = ()) -> None:
    """Adds the API; see `celebbasis_ext.api.mount`."""
    route_class = guarded_route(guards, context.embeddings_dir)
    faults: dict[int | str, dict[str, Any]] = {
        status: {"model": models.FaultReply} for status in (400, 401, 403, 404, 409, 413, 415, 422, 423, 429, 500, 503)
    }
    # The guards were asked by then; here they stand for /docs to know of a login.
    router = APIRouter(
        prefix=PREFIX, route_class=route_class, tags=["Celeb Basis"], dependencies=[Depends(guard) for guard in guards],
        responses=faults,
    )  # fmt: skip
    for method, path, endpoint, options in _table(Api(context)):
        router.add_api_route(
            path, endpoint, methods=[method], name=f"celebbasis_{endpoint.__name__}",
            summary=(endpoint.__doc__ or "").split("\n")[0].rstrip("."), response_model=None, **options,
        )  # fmt: skip
    router.add_api_route("/{rest:path}", _no_such_route, methods=list(_METHODS), include_in_schema=False)
    app.router.routes.extend(router.routes)  # `include_router` would make each of them a second time
    app.openapi_schema = None  # where somebody has looked at /docs already it would stay as it was


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
Row = tuple[str, str, Callable[..., Any], dict[str, Any]]


def _table(api: Api) -> list[Row]:
    """Method, path, endpoint, and what /docs says of the reply."""
    ordered = _replying(models.JobReply, 202)
    return [
        ("GET", "/health", api.health, _replying(models.HealthReply)),
        ("POST", "/train", api.train, ordered),
        ("POST", "/insert", api.insert, ordered),
        ("GET", "/encoder", api.encoder, _replying(models.EncoderReply)),
        ("POST", "/encoder", api.learn_celebrities, ordered),
        ("GET", "/jobs", api.jobs, _replying(list[models.JobReply])),
        ("GET", "/jobs/{job_id}", api.job, _replying(models.JobReply)),
        ("POST", "/jobs/{job_id}/cancel", api.cancel, _replying(models.JobReply)),
        ("GET", "/people", api.people, _replying(list[models.PersonReply])),
        ("GET", "/people/{name}", api.person, _replying(models.PersonReply)),
        ("GET", "/people/{name}/card", api.card, {"response_class": Response, "responses": _PNG}),
        ("GET", "/people/{name}/inspect", api.inspect_person, _replying(models.InspectReply)),
        ("POST", "/people/{name}/rename", api.rename, _replying(models.PersonReply)),
        ("DELETE", "/people/{name}", api.delete, {"response_class": Response, "status_code": 204}),
        ("POST", "/inspect", api.inspect_file, _replying(models.InspectReply)),
        ("POST", "/mix", api.mix, ordered),
        ("POST", "/sample", api.sample, ordered),
        ("GET", "/names/check", api.check_name, _replying(models.NameReply)),
        ("POST", "/faces", api.faces, _replying(models.FacesReply)),
    ]


def _replying(model: Any, status: int = 200) -> dict[str, Any]:
    """What an endpoint returns, for /docs alone.

    As its `response_model` FastAPI would make a copy of the class at every start, which the WebUI waits for, and check
    every reply a second time.
    """
    return {"status_code": status, "responses": {status: {"model": model}}}


def _no_such_route(rest: str) -> None:
    """Below our address, so that our guards are asked, and the reply has our shape."""
    raise NotHere("There is no such route, or not with this method.", "See /docs.")


def _check_consent(consent: bool) -> None:
    if not consent:
        raise NoConsent(
            "Nobody has said that the person agrees.",
            "Send consent: true where each of them is you, or somebody who has agreed to be learned.",
        )


class Api:
    """The endpoints; they run in threads of the server's pool.

    Args:
        context: Shared with the tab.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.studio, self.actions = Studio(context), PeopleActions(context)
        self._one_photo = threading.Lock()  # a photo may unpack to 300 MB; many at once would fill the memory

    def health(self) -> models.HealthReply:
        """What is missing.

        Loads the checkpoint where that has not been done yet.
        """
        missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
        problems, checkpoint, encoder = [], None, False
        try:
            found = self.context.open_workshop().host.checkpoint
            checkpoint = models.CheckpointReply(**dataclasses.asdict(found))
            encoder = self.studio.encoder() is not None
        except CelebBasisError as error:
            problems.append(self._fault(error))
        except ImportError as error:
            problems.append(self._fault(MissingPackage(f"A package is missing: {error}.", "Install it with pip.")))
        states = [job.state for job in self.context.queue.jobs()]
        return models.HealthReply(
            ready=not missing and not problems, version=__version__,
            host="webui" if self.context.in_webui else "standalone", checkpoint=checkpoint, encoder=encoder,
            missing_packages=missing, problems=problems, notices=list(self.context.notices),
            running=states.count("running"), waiting=states.count("queued"),
        )  # fmt: skip

    def _fault(self, error: CelebBasisError) -> models.Fault:
        return models.Fault(**said(error, self.context.embeddings_dir))

    def train(self, form: models.TrainRequest) -> models.JobReply:
        """Learn people from one photo each, or from several.

        Photos, names and settings are checked at once; what is wrong later is told by the job.
        """
        self._check_line()
        order = self._order(form)
        preview = form.preview or models.Preview()
        wish = PreviewWish(checked_text(preview.prompt, "The preview's prompt"), preview.every)
        return self._reply(self.studio.train(order, wish))

    def _order(self, form: models.TrainRequest) -> Order:
        _check_consent(form.consent)
        if form.preset not in models.SETTINGS:
            raise InvalidSettings("The preset is not known.", f"Choose one of {', '.join(models.SETTINGS)}.")
        settings = {**models.SETTINGS, **self.studio.presets()}[form.preset]
        order = dataclasses.replace(
            self._people(form.people), config=checked(dataclasses.replace(settings, **models.given(form.config))),
            descriptions=tuple(phrases_from(person.description) for person in form.people),
            overwrite=form.overwrite or form.resume, resume=form.resume, lora=LoraConfig() if form.lora else None,
        )  # fmt: skip
        if form.resume and not self.studio.is_unfinished(order.people):
            raise InvalidSettings(f"There is no interrupted run of {', '.join(order.people)}.", "Send resume: false.")
        return order

    def _people(self, people: Sequence[models.PersonPhoto]) -> Order:
        with self._one_photo:
            photos = photos_from([person.photo for person in people])
        return Order(photos, tuple(p.name for p in people), faces=tuple(p.face for p in people))

    def insert(self, form: models.InsertRequest) -> models.JobReply:
        """Write people at once, as the encoder understands their faces.

        The file is there in under a second after the job has begun; what is drawn then takes longer.
        """
        self._check_line()
        _check_consent(form.consent)
        order = dataclasses.replace(self._people(form.people), overwrite=form.overwrite)
        return self._reply(self.studio.insert(order, form.pictures))

    def encoder(self) -> models.EncoderReply:
        """Whether the checkpoint has an encoder, or how long it takes to learn one."""
        return encoder_reply(self.studio.encoder(), self.studio.outlook())

    def learn_celebrities(self, form: models.Empty | None = None) -> models.JobReply:
        """Let the checkpoint learn from its celebrities.

        Needed once before anybody can be inserted. Where it was stopped it goes on.
        """
        self._check_line()
        return self._reply(self.studio.learn_celebrities())

    def _check_line(self) -> None:
        waiting = [job.state for job in self.context.queue.jobs()].count("queued")
        if waiting >= LONGEST_LINE:
            raise LineTooLong(f"{waiting} jobs are waiting already.", "Wait until one of them is done.")

    def jobs(self) -> list[models.JobReply]:
        """All jobs that wait, run, or ended not long ago, of the tab and of the API; the oldest first."""
        folder = self.context.embeddings_dir
        return [
            job_reply(job, self.studio.ahead_of(job), folder, pictures=False, losses=False)
            for job in self.context.queue.jobs()
        ]

    def job(
        self, job_id: str = _JOB, preview: bool = Query(False, description="Send the latest picture, and the sheet.")
    ) -> models.JobReply:
        """How a job stands."""
        return self._reply(self._find(job_id), preview)

    def cancel(self, job_id: str = _JOB, form: models.Empty | None = None) -> models.JobReply:
        """Stop a job.

        One that waits is taken out of the line; one that runs ends after its step and keeps what it has.
        """
        self.context.queue.stop(self._find(job_id).id)
        return self._reply(self._find(job_id))

    def _find(self, job_id: str) -> Job:
        try:
            return self.context.queue[job_id]
        except KeyError as error:
            raise NotHere("There is no such job, or it ended long ago.", "See /jobs.") from error

    def _reply(self, job: Job, pictures: bool = False) -> models.JobReply:
        return job_reply(job, self.studio.ahead_of(job), self.context.embeddings_dir, pictures)

    def people(self) -> list[models.PersonReply]:
        """Everybody who was learned here, the newest first."""
        return [person_reply(person) for person in self.actions.everybody()]

    def person(self, name: str = _NAME) -> models.PersonReply:
        """One of them."""
        return person_reply(self.actions.find(name))

    def card(self, name: str = _NAME) -> Response:
        """Their picture, PNG."""
        person = self.actions.find(name)
        if person.preview is None:
            raise NotHere(f"{person.name} has no picture.", "Generate one.")
        return Response(person.preview.read_bytes(), media_type="image/png")

    def inspect_person(self, name: str = _NAME) -> models.InspectReply:
        """What they are, compared with real names."""
        return inspect_reply(self.actions.inspected(self.actions.find(name)))

    def rename(self, form: models.RenameRequest, name: str = _NAME) -> models.PersonReply:
        """Give them another trigger word."""
        return person_reply(self.actions.find(self.actions.rename(name, form.new_name)))

    def delete(self, name: str = _NAME) -> Response:
        """Remove their files."""
        self.actions.delete(name)
        return Response(status_code=204)

    def inspect_file(self, form: models.InspectRequest) -> models.InspectReply:
        """What anybody's embedding file is."""
        from celebbasis_ext.tools import inspect

        embedding = embedding_from(form.embedding, form.name, form.suffix)
        return inspect_reply(inspect(self.context.open_workshop(), embedding))

    def mix(self, form: models.MixRequest) -> models.JobReply:
        """Write somebody between several people."""
        self._check_line()
        if len(form.people) > MOST_PARENTS:
            raise InvalidRequest(f"Got {len(form.people)} people, at most {MOST_PARENTS} are allowed.", "Choose fewer.")
        parents = [(checked_text(parent.who, "A name"), parent.weight) for parent in form.people]
        return self._reply(self.actions.order_mix(parents, form.name))

    def sample(self, form: models.SampleRequest) -> models.JobReply:
        """Write somebody who does not exist."""
        self._check_line()
        return self._reply(self.actions.order_make_up(form.seed, form.name))

    def check_name(self, name: str = Query(..., description="Anything.")) -> models.NameReply:
        """Whether somebody new may have a name."""
        complaint = self.studio.complaint(name)
        return models.NameReply(
            name=name, usable=complaint is None,
            error=self._fault(complaint) if complaint else None,
            surprises=[] if complaint else list(self.studio.surprises(name)), proposal=self.studio.proposal(name),
        )  # fmt: skip

    def faces(self, form: models.FacesRequest) -> models.FacesReply:
        """Which faces a photo shows."""
        content = decoded(form.photo, "The photo")
        with self._one_photo:
            seen = self.studio.look_at(content, form.face)
        if seen.error is not None or seen.image is None:
            raise seen.error or InvalidRequest("The photo cannot be used.", "Choose another.")
        return faces_reply(seen, seen.image)
