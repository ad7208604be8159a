"""What tab and API do with people who are there: find, rename, delete, inspect, mix, make up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.files.card import save_card
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.files.people import TrainedPerson, delete_person, find_person, list_people, rename_person
from celebbasis_ext.person import check_new_name
from celebbasis_ext.types import TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.context import Context
    from celebbasis_ext.inspection import Inspection
    from celebbasis_ext.job_queue import Job, Report
    from celebbasis_ext.types import Saved

PORTRAIT = "a photo of {}"

_log = logging.getLogger(__name__)


class PeopleActions:
    """Actions on the people in the surroundings. What uses the checkpoint for long waits in the job queue."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def everybody(self) -> tuple[TrainedPerson, ...]:
        return list_people(self.context.embeddings_dir)

    def find(self, name: str) -> TrainedPerson:
        """See `files.people.find_person`."""
        return find_person(self.context.embeddings_dir, name)

    def inspected(self, person: TrainedPerson) -> Inspection:
        """See `tools.inspect`."""
        from celebbasis_ext.tools import inspect

        return inspect(self.context.open_workshop(), load_embedding(person.path))

    def config_of(self, person: TrainedPerson) -> TrainConfig:
        """The settings of a person whose training was interrupted.

        Raises:
            InvalidSettings: It was not, or the settings cannot be read.
        """
        if not person.resumable:
            raise InvalidSettings(
                f"The training of {person.name} is finished.", "Learn a new person on the Train page."
            )
        settings: Any = person.facts.get("settings")
        try:
            return TrainConfig(**settings)
        except TypeError as error:
            raise InvalidSettings(
                f"The settings in the file of {person.name} cannot be read.", "Choose them on the Train page."
            ) from error

    def rename(self, name: str, new_name: str) -> str:
        """Raises InvalidName, NameTaken, UnknownPerson or PersonBusy; returns the new name."""
        self.find(name)
        self.context.queue.check_idle(name, new_name)
        host = self.context.open_workshop().host
        if new_name.lower() != name.lower():
            check_new_name(host, new_name)
        path = rename_person(self.context.embeddings_dir, name, new_name)
        host.publish(path)
        return path.stem

    def delete(self, name: str) -> None:
        """Raises InvalidName, UnknownPerson or PersonBusy."""
        self.find(name)
        self.context.queue.check_idle(name)
        removed = delete_person(self.context.embeddings_dir, name)
        try:
            self.context.open_workshop().host.publish(removed[0])
        except CelebBasisError as error:  # such as a checkpoint that nobody could be learned with
            _log.info("%s was deleted, but the host was not told: %s", name, error)

    def mix(self, parents: Sequence[tuple[str, float]], name: str) -> str:
        """Writes somebody between several people, with a picture; returns the name.

        Raises:
            CelebBasisError: See `tools.mix_people`.
        """
        finished(self.context.queue.wait(self.order_mix(parents, name).id))
        return name

    def order_mix(self, parents: Sequence[tuple[str, float]], name: str) -> Job:
        """Puts a mix of people, celebrities and "sample:7" at the end of the line.

        Raises:
            InvalidSettings: Fewer than two of them have a weight.
            InvalidName, NameTaken, PersonBusy: See there.
        """
        from celebbasis_ext.tools import Parent, mix_people

        wanted = [Parent(who, weight) for who, weight in parents if who and weight]
        if len(wanted) < 2:
            raise InvalidSettings("A mix needs at least two people with a weight.", "Choose more people.")
        return self._order(f"Mix {name}", name, lambda report: mix_people(self.context.open_workshop(), wanted, name))

    def make_up(self, seed: int, name: str) -> str:
        """Writes somebody who does not exist, with a picture; returns the name.

        Raises:
            CelebBasisError: See `tools.sample_people`.
        """
        finished(self.context.queue.wait(self.order_make_up(seed, name).id))
        return name

    def order_make_up(self, seed: int, name: str) -> Job:
        """Puts the making of somebody who does not exist at the end of the line.

        Raises:
            InvalidName, NameTaken, PersonBusy: See there.
        """
        from celebbasis_ext.tools import sample_people

        return self._order(
            f"Make up {name}", name, lambda report: sample_people(self.context.open_workshop(), [seed], [name])
        )

    def celebrities(self) -> list[str]:
        """Whose names the checkpoint knows, for mixing."""
        from celebbasis_ext.jobs import usable_names

        return [name.name for name in usable_names(self.context.open_workshop()).usable]

    def _order(self, title: str, name: str, work: Callable[[Report], Saved]) -> Job:
        check_new_name(self.context.open_workshop().host, name)

        def with_picture(report: Report) -> Saved:
            saved = work(report)
            host = self.context.open_workshop().host
            for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
                pictures = host.generate([PORTRAIT.replace("{}", embedding.name)], [0], [embedding])
                for picture in pictures:
                    save_card(path, picture, embedding.metadata)
                host.publish(path)
            return saved

        return self.context.queue.order(title, "make", with_picture, [name])


def finished(job: Job) -> Any:
    """The job's result.

    Raises:
        CelebBasisError: The one it failed with, or that it was stopped.
    """
    if job.error is not None:
        raise job.error
    if job.state != "done":
        raise CelebBasisError(f"{job.title} was stopped.", "")
    return job.result
